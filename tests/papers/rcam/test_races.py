"""What the benchmark times of rCAM is the method, beside parts of it that end in the same map."""
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from PIL import Image
from scenes import TinyNetwork

from lib.base.problem import Problem
from lib.base.race import difference
from lib.papers.rcam.method import rcam
from lib.papers.rcam.races import race
from lib.papers.rcam.settings import RcamSettings


def test_the_method_and_its_parts(network: TinyNetwork, photos: Sequence[Image.Image],
                                  settings: RcamSettings) -> None:
    one = race(network, photos[:2], settings)
    assert torch.equal(one.ours(), rcam(network, photos[:2], settings).maps["rcam"])
    peer, = one.peers
    assert difference(one, peer) == 0 and peer.name == "its 2 forward passes and its CRF"
    assert peer.least == pytest.approx(1 / 1.5, abs=1e-3)


def test_another_crf_would_be_noticed(network: TinyNetwork, photos: Sequence[Image.Image],
                                      settings: RcamSettings) -> None:
    longer = replace(settings, crf=replace(settings.crf, iterations=5))
    one = replace(race(network, photos[:1], settings), peers=race(network, photos[:1], longer).peers)
    with pytest.raises(Problem, match="differ from ours"):
        difference(one, one.peers[0])
