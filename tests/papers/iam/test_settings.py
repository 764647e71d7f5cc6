"""IAM's parameters hang together: filling modules have proposals, notebooks have trained networks."""
from pathlib import Path
from typing import Any

import pytest
from edited_params import DELETED, PARSED, edited

from lib.base.problem import Problem
from lib.papers.iam import settings
from lib.papers.iam.settings import MAIN, TABLE_K, FillingJob, crfs_of, filling_jobs
from lib.params import NOTEBOOKS, TIERS, load_params

SMOKE = "tier.smoke"
TRAIN = f"{SMOKE}.iam_train"
NET = f"{TRAIN}.networks.efficientnet_lite0"
UNKNOWN_NETWORK = {"resnet": PARSED["tier"]["smoke"]["iam_train"]["networks"]["efficientnet_lite0"]}


@pytest.mark.parametrize("tier", TIERS)
def test_shipped_runs_have_what_claims_need(tier: str) -> None:
    block = load_params().tier[tier]
    for network in block.iam.networks:
        assert {*TABLE_K, MAIN} <= set(block.iam_train.networks[network].k)
    assert set(settings.NOTEBOOKS) <= set(NOTEBOOKS) and not {"proposals", "iam_train"} & set(NOTEBOOKS)
    assert {"train", "val", "test"} <= set(block.proposals.images[block.iam_train.dataset])


def test_jobs_come_seed_by_seed() -> None:
    network = load_params().tier["paper"].iam_train.networks["torchvision_resnet50"]
    found = filling_jobs(network, True)
    assert len(found) == len(set(found)) == len(network.seeds) * (len(network.k) + 1)
    assert [job.seed for job in found] == sorted(job.seed for job in found)
    assert not any(job.unseen for job in filling_jobs(network, False))


def test_names_of_jobs() -> None:
    assert FillingJob(9, 3).name == "k9_seed3"
    assert FillingJob(MAIN, 0, True).name == "k5_seed0_unseen"


def test_every_crf_that_is_tried_is_another() -> None:
    params = load_params()
    found = crfs_of(params.iam, params.iam_constants)
    assert list(found) == ["chosen", *params.iam_constants.crfs] and len(set(found.values())) == len(found)


@pytest.mark.parametrize("key, value, words", [
    ("iam_filling.chanels", 4, 'iam_filling.chanels: there is no such parameter; did you mean "channels"?'),
    ("iam_filling.ranking", "matchin",
     'iam_filling.ranking: "matchin" is not a choice; did you mean "matching"?'),
    ("iam_filling.retrieval.width", 4, 'iam_filling.retrieval.width: "4" is not a choice'),
    ("iam_filling.retrieval.overlap", 1.5, "iam_filling.retrieval.overlap: 1.5 is out of range"),
    ("iam.level", 1, "iam.level: 1.0 is out of range"),
    ("iam.crf.filter_size", 8, "filter_size: 8 is even, so the window has no pixel in its middle"),
    ("iam_constants.crfs.other", {"filter": 3},
     'iam_constants.crfs.other.filter: there is no such parameter; did you mean "filter_size"?'),
    ("iam_constants.peaks", [], "iam_constants.peaks: must be a list with at least one entry"),
    (f"{NET}.k", [5, 1], f"{NET}.k: lacks 9, which the paper's table 1 has; add it."),
    (f"{NET}.k", [5, 1, 9, 31],
     f"{NET}.k: 31 is more than iam_filling.most, 30, proposals that are ranked; raise that."),
    (f"{NET}.filling.map_side", 128,
     f"{NET}.filling.map_side: 128 is more than side, 96; maps are made smaller, not larger."),
    (f"{NET}.filling.optimiser", "sdg",
     f'{NET}.filling.optimiser: "sdg" is not a choice; did you mean "sgd"?'),
    (f"{SMOKE}.proposals.images.collage.test", DELETED,
     f"{SMOKE}.proposals.images.collage.test: IAM needs proposals of this split"),
    (f"{SMOKE}.proposals.images.collages", {"val": 3},
     f'{SMOKE}.proposals: there is no data set "collages" in this tier; did you mean "collage"?'),
    (f"{TRAIN}.dataset", "collage_single",
     f"{SMOKE}.proposals.images.collage_single.train: IAM needs proposals of this split"),
    (f"{SMOKE}.iam.dataset", "collage_single",
     f'{SMOKE}.iam.dataset: must be "collage", the data set of {TRAIN}, not "collage_single".'),
    (f"{SMOKE}.comparison.networks", ["vgg16_conv"],
     f'{SMOKE}.comparison: "vgg16_conv" is not trained in this tier; add it to {TRAIN}'),
    (f"{SMOKE}.iam_transfer.saliency", ["collages"],
     f'{SMOKE}.iam_transfer: there is no data set "collages" in this tier'),
    (f"{TRAIN}.networks", UNKNOWN_NETWORK, f'{TRAIN}: there is no network "resnet"')])
def test_faults_are_named(tmp_path: Path, key: str, value: Any, words: str) -> None:
    with pytest.raises(Problem) as caught:
        load_params(edited(tmp_path, key, value))
    assert words in str(caught.value) and "\n" not in str(caught.value)
