"""The shipped parameters with one change, for tests of the checks."""
import copy
from pathlib import Path
from typing import Any

import yaml

from lib.paths import ROOT

PARSED = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
DELETED = object()


def edited(folder: Path, key: str, value: Any) -> Path:
    """The shipped parameters with one key (dots lead inwards) set, or deleted."""
    raw = copy.deepcopy(PARSED)
    *outer, last = key.split(".")
    block = raw
    for name in outer:
        block = block[name]
    if value is DELETED:
        del block[last]
    else:
        block[last] = value
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return path
