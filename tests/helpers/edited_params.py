"""The shipped parameters with some changes, for tests of the checks."""
import copy
from pathlib import Path
from typing import Any

import yaml

from lib.base.paths import ROOT

PARSED = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
DELETED = object()


def edited(folder: Path, key: str, value: Any, *more: tuple[str, Any]) -> Path:
    """The shipped parameters with one key (dots lead inwards) set, or deleted; and `more`, the same way."""
    raw = copy.deepcopy(PARSED)
    for place, setting in ((key, value), *more):
        *outer, last = place.split(".")
        block = raw
        for name in outer:
            block = block[name]
        if setting is DELETED:
            del block[last]
        else:
            block[last] = setting
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return path
