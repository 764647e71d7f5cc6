"""CSoA's stage: its networks, and where each of them finds the object."""
from collections.abc import Callable, Mapping
from typing import Any

from lib.base.paths import BUILD, DATA, REPORTS
from lib.data.dataset import Dataset

CodeOf = Callable[..., Mapping[str, Any]]   # functions -> digests of the definitions that they reach, by name


def csoa_train(params: Any, tier: str, code_of: CodeOf) -> None:
    """Stage csoa_train@<tier>: networks and what they find below build/<tier>/csoa_train, curves below reports/<tier>/curves.

    `torchrun --nproc_per_node N -m lib.pipeline csoa_train TIER` shares every batch among N processes.
    """
    from lib.base.parallel import processes
    from lib.nets import load_network
    from lib.nets.fold import fold_normalisation
    from lib.papers.csoa.batches import Squares, enlarged, single_objects
    from lib.papers.csoa.method import Extractor
    from lib.papers.csoa.networks import locate_job, train_job, train_run
    from lib.papers.csoa.settings import constants_of

    images = (single_objects, Squares, enlarged)
    training = code_of(train_job, Extractor, load_network, fold_normalisation, *images)
    locating = code_of(locate_job, *images)
    constants = constants_of(params.csoa, params.csoa_trials)
    with processes():
        for dataset, networks in params.tier[tier].csoa_train.runs.items():
            for network, run in networks.items():
                place = f"csoa_train/{dataset}/{network}"
                train_run(Dataset(DATA / tier / dataset), network, run, constants, params.csoa_thresholds.tried,
                          BUILD / tier / place, REPORTS / tier / "curves" / place, training, locating)
