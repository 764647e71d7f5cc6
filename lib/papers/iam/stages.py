"""IAM's stages: a classifier with stimulated peaks and filling modules on it, and the rows of its tables."""
from collections.abc import Callable, Mapping
from typing import Any

from lib.base.files import FINGERPRINT, sha256
from lib.base.paths import BUILD, DATA, REPORTS
from lib.base.shards import WHOLE, Shard
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


def iam_rows(params: Any, tier: str, code_of: CodeOf, share: Shard = WHOLE) -> None:
    """Stage iam_rows@<tier>: what the notebooks want of every image, below build/<tier>/iam_rows.

    Several machines may share it.
    """
    from lib.papers.iam.findings import compute, look, write
    from lib.papers.iam.rows import scenes_of
    from lib.papers.iam.trained import hashes, open_tier, wanted

    block = params.tier[tier]
    opened = open_tier(params, tier, block.iam_train.dataset, list(block.iam_train.networks))
    samples = wanted(opened.first, [block.iam.images, block.iam_sampling.images, block.iam_transfer.images])
    code = dict(code_of(look, write, scenes_of))
    for name, trained in opened.networks.items():
        facts = {"weights": hashes(opened.weights, [name]), "data": trained.dataset.hash,
                 "proposals": sha256(trained.proposals / FINGERPRINT), "code": code}
        compute(trained, params.iam_constants, samples, BUILD / tier / "iam_rows" / name, facts, share)
