"""CSoA's stage: its networks, and where each of them finds the object."""
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.base.paths import BUILD, DATA, REPORTS

if TYPE_CHECKING:
    from lib.papers.csoa.networks import RunPlan

CodeOf = Callable[..., Mapping[str, Any]]   # functions -> digests of the definitions that they reach, by name


def csoa_train(params: Any, tier: str, code_of: CodeOf) -> None:
    """Stage csoa_train@<tier>: networks and what they find, below build, and their curves below reports.

    The data sets of all runs are checked before anything is trained.
    `torchrun --nproc_per_node N -m lib.pipeline csoa_train TIER` shares every batch among N processes.
    """
    from lib.base.parallel import processes
    from lib.papers.csoa.networks import train_run

    plans = _plans(params, tier, code_of)
    with processes():
        for place, plan in plans.items():
            train_run(plan, BUILD / tier / place, REPORTS / tier / "curves" / place)


def _plans(params: Any, tier: str, code_of: CodeOf) -> "dict[Path, RunPlan]":
    """Every run by its place below a tier's folder; a data set that lacks images or files is named."""
    from lib.data.dataset import Dataset
    from lib.nets import load_network, with_weights
    from lib.nets.fold import fold_normalisation
    from lib.papers.csoa.batches import Squares, enlarged, single_objects
    from lib.papers.csoa.method import Extractor
    from lib.papers.csoa.networks import RunPlan, locate_job, train_job
    from lib.papers.csoa.settings import constants_of

    images = (single_objects, Squares, enlarged)
    training_code = code_of(train_job, Extractor, load_network, with_weights, fold_normalisation, *images)
    locating_code = code_of(locate_job, *images)
    constants = constants_of(params.csoa, params.csoa_trials)
    runs = params.tier[tier].csoa_train.runs
    datasets = {name: Dataset(DATA / tier / name, check=False) for name in runs}
    plans = {}
    for name, networks in runs.items():
        for network, run in networks.items():
            single = single_objects(datasets[name], run.least)
            plans[Path("csoa_train") / name / network] = RunPlan(
                datasets[name], single, network, run, constants, params.csoa_thresholds.tried,
                training_code, locating_code)
    for dataset in datasets.values():
        dataset.check()   # last, since it reads every file
    return plans
