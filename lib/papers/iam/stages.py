"""IAM's stage: a classifier with stimulated peaks, and the filling modules on it."""
from collections.abc import Callable, Mapping
from typing import Any

from lib.base.paths import BUILD, DATA, REPORTS
from lib.data.dataset import Dataset

CodeOf = Callable[..., Mapping[str, Any]]   # functions -> digests of the definitions that they reach, by name


def iam_train(params: Any, tier: str, code_of: CodeOf) -> None:
    """Stage iam_train@<tier>: weights below build/<tier>/iam_train, curves below reports/<tier>/curves."""
    from lib.papers.iam.training import Code, Folders, train_fillings, train_run
    from lib.training.networks import train_networks

    run = params.tier[tier].iam_train
    folders = Folders(BUILD / tier / "proposals" / run.dataset, BUILD / tier / "iam_train",
                      REPORTS / tier / "curves" / "iam_train")
    code = Code(code_of(train_networks), code_of(train_fillings))
    train_run(Dataset(DATA / tier / run.dataset), run, params.iam_filling, params.seed, folders, code)
