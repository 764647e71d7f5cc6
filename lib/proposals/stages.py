"""The stage that finds segment proposals, which PRM, IAM and rCAM_Box start from."""
from collections.abc import Callable, Mapping
from typing import Any

from lib.base.paths import BUILD, DATA
from lib.base.shards import WHOLE, Shard
from lib.data.dataset import Dataset

CodeOf = Callable[..., Mapping[str, Any]]   # functions -> digests of the definitions that they reach, by name


def proposals(params: Any, tier: str, code_of: CodeOf, share: Shard = WHOLE) -> None:
    """Stage proposals@<tier>: segment proposals below build/<tier>/proposals/<data set>.

    Several machines may share it.
    """
    from lib.proposals.store import compute, find

    code = code_of(find)
    for name, splits in params.tier[tier].proposals.images.items():
        compute(Dataset(DATA / tier / name), splits, BUILD / tier / "proposals" / name, code, share)
