"""A small network, photographs of several sizes and settings for all tests of rCAM."""
import pytest
from PIL import Image
from scenes import TinyNetwork, scene

from lib.papers.rcam.settings import BoxSettings, RcamSettings
from lib.refine.settings import CrfSettings

SIZES = ((150, 90), (80, 140), (200, 200), (64, 64))


@pytest.fixture(scope="session")
def network() -> TinyNetwork:
    return TinyNetwork(seed=15).eval()


@pytest.fixture(scope="session")
def photos() -> list[Image.Image]:
    return [scene(seed, width, height)[0] for seed, (width, height) in enumerate(SIZES)]


@pytest.fixture(scope="session")
def settings() -> RcamSettings:
    boxes = BoxSettings(source="windows", least_side=0.0, count=2, overlap=0.4, least_score=0.1, margin=0.1)
    return RcamSettings(
        sizes=(64, 128),
        guide_stride=8,
        components=3,
        max_lag=0.5,
        lag_components=1,
        window="radius",
        eps=0.02,
        crf=CrfSettings(160, 10, 3, 1, 0.5, 2),
        crf_cited=CrfSettings(160, 3, 3, 5, 3, 2),
        boxes=boxes,
        googlenet_tail="dilated",
    )
