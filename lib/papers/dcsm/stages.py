"""DCSM's stages: networks from image labels, and the raw maps that its tables share."""
from collections.abc import Callable, Mapping
from typing import Any

from lib.base.paths import BUILD, DATA, REPORTS
from lib.base.shards import WHOLE, Shard
from lib.data.dataset import Dataset

# Functions -> digests of the definitions that they reach, by name.
CodeOf = Callable[..., Mapping[str, Any]]


def dcsm_train(params: Any, tier: str, code_of: CodeOf) -> None:
    """Stage dcsm_train@<tier>: weights below build/<tier>/dcsm_train.

    Curves go below reports/<tier>/curves/dcsm_train.
    """
    from lib.training.checkpoint import TrainingFolders
    from lib.training.networks import train_networks

    run = params.tier[tier].dcsm_train
    dataset = Dataset(DATA / tier / run.dataset)
    folders = TrainingFolders(BUILD / tier / "dcsm_train", REPORTS / tier / "curves" / "dcsm_train")
    train_networks(dataset, run.networks, params.seed, folders, code_of(train_networks))


def dcsm_maps(params: Any, tier: str, code_of: CodeOf, share: Shard = WHOLE) -> None:
    """Stage dcsm_maps@<tier>: raw maps below build/<tier>/dcsm_maps; several machines may share it."""
    from lib.papers.dcsm.maps import MapFolders, compute, image_maps, write
    from lib.papers.dcsm.method import load_folded

    run = params.tier[tier].dcsm_maps
    dataset = Dataset(DATA / tier / run.dataset)
    folders = MapFolders(BUILD / tier / "dcsm_train", BUILD / tier / "dcsm_maps")
    code = code_of(image_maps, write, load_folded)
    compute(dataset, run, params.dcsm_maps, folders, code, share)
