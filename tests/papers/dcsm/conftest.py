"""Raw maps of a toy data set, computed once for all tests of DCSM."""
from dataclasses import replace
from pathlib import Path

import pytest
from dcsm_toys import MAPS, RUN, SIDE, toy_dataset, toy_fcn, toy_trunk

from lib.data.dataset import Dataset
from lib.nets import fcn as fcn_file
from lib.nets.fcn import save_fcn
from lib.papers.dcsm.maps import MapFolders, compute
from lib.papers.dcsm.tables import Split, open_split, write_split


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_dataset(tmp_path_factory.mktemp("data") / "scenes")


@pytest.fixture(scope="session")
def maps_folder(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw maps of three test images, two of them with ablations, and of one for validation.

    There are two or three targets each, and three candidates. The weights lie in `weights` beside the folder.
    """
    place = tmp_path_factory.mktemp("maps")
    folders = MapFolders(place / "weights", place / "maps")
    save_fcn(toy_fcn(7), place / "weights" / "toy" / "weights.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcn_file, "load_network", toy_trunk)
        compute(dataset, RUN, replace(MAPS, candidates=3), folders, {})
    return place / "maps"


@pytest.fixture(scope="session")
def split(dataset: Dataset, maps_folder: Path) -> Split:
    return open_split(dataset, maps_folder / "toy")


@pytest.fixture(scope="session")
def own_split(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Three test images as one's own: guided maps of three scales; they stand for validation images, too."""
    maps = replace(MAPS, scales=(250, 500, 750), other_scales=(1000,))
    samples = dataset.split("test")[:3]
    written = write_split(toy_fcn(7), samples, maps, SIDE, tmp_path_factory.mktemp("own"))
    return replace(written, val=written.items)
