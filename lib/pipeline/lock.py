"""dvc.lock beside dvc.yaml: what every stage's results were made from, as far as DVC ran it."""
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lib.base.paths import ROOT
from lib.base.problem import Problem

WAY_OUT = "take dvc.lock from the last commit, or delete it and run make repro."


@dataclass(frozen=True)
class Entry:
    """One stage as it ran: hashes of what it read and wrote by path, and parameters that it used by name."""
    deps: dict[str, str]
    outs: dict[str, str]
    params: dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """One stage as dvc.yaml has it for a tier."""
    deps: list[str]
    outs: list[str]
    params: list[str]


def read_lock(root: Path = ROOT) -> dict[str, Entry]:
    """Every entry by `stage@tier`; a file that this pipeline did not write is named."""
    path = root / "dvc.lock"
    if not path.is_file():
        return {}
    try:
        stages = yaml.load(path.read_bytes(), yaml.CSafeLoader)["stages"]
        commands = {name: entry["cmd"] for name, entry in stages.items()}
        entries = {name: _entry(entry) for name, entry in stages.items()}
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        raise Problem(f"dvc.lock: damaged, not what DVC writes; {WAY_OUT}") from None
    _check_layout(commands, root)
    return entries


def stages_of(tier: str, root: Path = ROOT) -> dict[str, Stage]:
    """The stages of a tier by name, as in dvc.yaml."""
    return {name: _stage(stage["do"], tier) for name, stage in _pipeline(root).items() if "foreach" in stage}


def upstream(stage: Stage, stages: Mapping[str, Stage]) -> set[str]:
    """The stages that wrote what a stage reads, or something in a folder that it reads."""
    return {name for name, other in stages.items() if any(_reads(stage, out) for out in other.outs)}


def md5_of(content: bytes) -> str:
    """The hash that DVC knows a file by."""
    return hashlib.md5(content).hexdigest()


def _reads(stage: Stage, path: str) -> bool:
    return any(f"{path}/".startswith(f"{dep}/") for dep in stage.deps)


def _pipeline(root: Path) -> dict[str, Any]:
    return yaml.load((root / "dvc.yaml").read_bytes(), yaml.CSafeLoader)["stages"]


def _check_layout(commands: dict[str, str], root: Path) -> None:
    """An entry of a stage that is gone, or that was run by another command, says nothing about today's."""
    known = _pipeline(root)
    for name, command in commands.items():
        stage, _, tier = name.partition("@")
        body = known.get(stage, {})
        expected = body.get("do", body).get("cmd", "").replace("${item}", tier)
        if command != expected:
            raise Problem(f'dvc.lock: its stage "{name}" is not as dvc.yaml has it, so it is of another '
                          f"version of the pipeline; {WAY_OUT}")


def _entry(entry: dict[str, Any]) -> Entry:
    deps, outs = (_hashes(entry.get(kind, [])) for kind in ("deps", "outs"))
    return Entry(deps, outs, entry.get("params", {}).get("params.yaml", {}))


def _hashes(files: list[dict[str, Any]]) -> dict[str, str]:
    return {file["path"]: file["md5"] for file in files}


def _stage(body: dict[str, Any], tier: str) -> Stage:
    written = [out for kind in ("outs", "metrics", "plots") for out in body.get(kind, [])]
    outs = [path for out in written for path in _paths(out)]
    return Stage(_of_tier(body["deps"], tier), _of_tier(outs, tier), _of_tier(body.get("params", []), tier))


def _of_tier(names: list[str], tier: str) -> list[str]:
    return [name.replace("${item}", tier) for name in names]


def _paths(out: str | dict[str, Any]) -> Iterator[str]:
    """An output with options is a mapping of its path to them."""
    if isinstance(out, str):
        yield out
    else:
        yield from out
