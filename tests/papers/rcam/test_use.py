"""rCAM of the command line: its network and device where none is named, and the notebooks' own code path."""
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from lib import methods
from lib.base.problem import Problem
from lib.data.dataset import Sample
from lib.metrics.bootstrap import Chance
from lib.papers.found import Request
from lib.papers.rcam import tables, use
from lib.papers.rcam.box import rcam_box
from lib.papers.rcam.method import rcam
from lib.papers.rcam.settings import RcamRun, RcamSettings
from lib.params import load_params

CHANCE = Chance(20, 0.95, 0)


@pytest.fixture
def params(settings: RcamSettings) -> SimpleNamespace:
    """Two tiers that differ in their network."""
    small = RcamRun(["scenes"], ["googlenet_bvlc", "efficientnet_lite0"], images=6, box_images=2, batch=4)
    tiers = {"collage": SimpleNamespace(rcam=small),
             "mirror": SimpleNamespace(rcam=replace(small, networks=["efficientnet_lite0"]))}
    return SimpleNamespace(rcam=settings, tier=tiers, chance=CHANCE)


@pytest.fixture
def opened(network, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the networks that were opened; the small one stands in for each."""
    names = []

    def open_network(name: str, _settings: RcamSettings, _weights: None) -> torch.nn.Module:
        names.append(name)
        return network

    monkeypatch.setattr(tables, "open_network", open_network)
    return names


@pytest.mark.parametrize("tier, asked, expected", [
    ("collage", None, "googlenet_bvlc"),
    ("mirror", None, "efficientnet_lite0"),
    ("collage", "vgg16_conv", "vgg16_conv"),
])
def test_the_network_is_asked_for_or_the_tiers_first(params, opened, samples: list[Sample], tier: str,
                                                     asked: str | None, expected: str) -> None:
    request = Request("rcam", tier, network=asked)
    use.segmenter(request, params)
    use.evaluate(request, params, None, samples[:1])
    assert opened == [expected, expected]


@pytest.mark.parametrize("method", use.SEGMENTS)
def test_every_method_makes_its_own_maps(params, opened, network, photos, settings: RcamSettings,
                                         method: str) -> None:
    heats = [found.heat for found in use.segmenter(Request(method), params)(photos[:2])]
    if method == "rcam_box":
        expected = rcam_box(network, photos[:2], settings)
    else:
        expected = rcam(network, photos[:2], settings).maps[method]
    assert torch.equal(torch.stack(heats), expected)


def test_the_scores_are_those_of_the_tables(params, opened, network, samples: list[Sample],
                                            settings: RcamSettings) -> None:
    first = use.evaluate(Request("rcam"), params, None, samples)
    assert first.rows == tables.table1(network, samples, settings, 4)[0].table([], CHANCE)[0]
    assert (first.network, first.images, first.note) == ("tiny", 5, "1 without foreground left out")
    second = use.evaluate(Request("rcam_box", batch=2), params, None, samples[:3])
    assert second.rows == tables.table2(network, samples[:3], settings, 2).table([], CHANCE)[0]


def test_a_misspelt_tier_is_named_before_anything_is_opened(opened, samples: list[Sample]) -> None:
    request = Request("rcam", tier="colage")
    with pytest.raises(Problem, match='no tier "colage".*collage'):
        methods.segmenter(request)
    with pytest.raises(Problem, match='no tier "colage".*collage'):
        methods.evaluate(request, None, samples)
    assert not opened


def test_every_tier_names_a_network_for_rcam() -> None:
    assert all(tier.rcam.networks for tier in load_params().tier.values())
