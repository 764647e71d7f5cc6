"""`make stale`: which results are older than the code, and what changed since they were made.

It reads dvc.lock, dvc.yaml, params.yaml, the code and what is committed under reports/, and runs nothing: so
it works in a fresh clone too.
"""
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lib.base.paths import ROOT
from lib.base.problem import Problem, nearest
from lib.base.yaml_file import read_yaml
from lib.params import completed, load_params
from lib.pipeline.code import Code, code_of
from lib.pipeline.library import Library, files_at, files_here
from lib.pipeline.lock import Entry, Stage, md5_of, read_lock, stages_of, upstream
from lib.pipeline.source import NAMES, as_text, code_file, stage_code
from lib.report.results import read_json, read_metrics

SHOWN = 4        # names of definitions, or parameters, before the rest is counted
SHORT = 12       # characters of a revision
MISSING = object()
NUMBER = re.compile(r"[-+]?\d+[eE][-+]?\d+")


def print_stale(tiers: Sequence[str] = ()) -> None:
    """One line a stage."""
    project = Project()
    known = load_params().tier
    for tier in tiers:
        if tier not in known:
            raise Problem(f'There is no tier "{tier}"{nearest(tier, known)}')
    for tier in tiers or project.tiers():
        for stage, words in project.verdicts(tier).items():
            print(f"{stage}@{tier}: {words or 'up to date'}")


def stale_section(tier: str, project: "Project | None" = None) -> str:
    """The section of a tier's page: one line for all stages of which the same is to be said."""
    lines = ["## What is older than the code", ""]
    try:
        verdicts = (project or Project()).verdicts(tier)
    except Problem as problem:
        return "\n".join([*lines, str(problem), ""])
    del verdicts["report"]   # this page, which is being made
    alike: dict[str, list[str]] = {}
    for stage, words in verdicts.items():
        alike.setdefault(words or "up to date", []).append(stage)
    lines += [f"- {', '.join(names)}: {words}" for words, names in alike.items()]
    return "\n".join([*lines, ""])


class Project:
    """A checkout: its code, its parameters, and what DVC and the results say about how they were made."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root, self.reports = root, root / "reports"
        self._revisions: dict[str, Library | None] = {}

    @cached_property
    def library(self) -> Library:
        """Today's code."""
        return Library(files_here(self.root))

    @cached_property
    def params(self) -> dict[str, Any]:
        """Today's parameters, as they stand in the file."""
        return read_yaml(self.root / "params.yaml")

    @cached_property
    def completed(self) -> dict[str, Any]:
        """Today's parameters with what blocks leave out, as results record them."""
        return completed(self.params)

    @cached_property
    def lock(self) -> dict[str, Entry]:
        """The entries of dvc.lock, by stage and tier."""
        return read_lock(self.root)

    @cached_property
    def code(self) -> dict[str, Code]:
        """Today's code of every stage."""
        return {name: stage_code(name, self.library) for name in NAMES}

    def tiers(self) -> list[str]:
        """Those that are active, and those that have results."""
        with_results = sorted(path.parent.name for path in self.reports.glob("*/metrics"))
        return list(dict.fromkeys([*self.params["tiers"], *with_results]))

    def verdicts(self, tier: str) -> dict[str, str]:
        """For every stage what changed since its results were made, in words; empty where nothing did."""
        stages = stages_of(tier, self.root)
        makers = {out: name for name, stage in stages.items() for out in stage.outs}
        verdicts: dict[str, str] = {}
        for name in NAMES:
            reasons = list(self._reasons(name, tier, stages[name], makers))
            before = upstream(stages[name], stages)
            behind = [other for other, words in verdicts.items() if words and other in before]
            if behind and not reasons:
                reasons.append(f"starts from {', '.join(behind)}, which may come out otherwise another time")
            verdicts[name] = "; ".join(reasons)
        return verdicts

    def _reasons(self, name: str, tier: str, stage: Stage, makers: dict[str, str]) -> Iterator[str]:
        entry = self.lock.get(f"{name}@{tier}")
        if entry is None or self._replaced(entry):
            yield from self._outside(name, tier, entry is None)
            return
        yield from self._code_reasons(name, tier, entry)
        yield from _shown("parameters", _changes(self._recorded(entry, stage)))
        for dep in stage.deps:
            if dep not in entry.deps:
                yield f"did not depend on {dep} when it ran"
            elif maker := makers.get(dep):
                yield from self._dep_reasons(dep, entry, f"{maker}@{tier}")

    def _replaced(self, entry: Entry) -> bool:
        """Whether committed files that the stage wrote are no longer the ones that DVC noted."""
        committed = [path for path in entry.outs if path.startswith("reports/") and path.endswith(".json")]
        there = [path for path in committed if (self.root / path).is_file()]
        return any(md5_of((self.root / path).read_bytes()) != entry.outs[path] for path in there)

    def _dep_reasons(self, dep: str, entry: Entry, maker: str) -> Iterator[str]:
        made = self.lock.get(maker)
        if made is None:
            yield f"{dep} has no entry in dvc.lock"
        elif made.outs.get(dep) != entry.deps[dep]:
            yield f"{dep} was made again since"

    def _code_reasons(self, name: str, tier: str, entry: Entry) -> Iterator[str]:
        noted = entry.deps.get(f"build/source/{name}.json")
        kept = code_file(name, tier, self.reports)
        if noted == md5_of(as_text(self.code[name]).encode()):
            return
        if kept.is_file() and md5_of(kept.read_bytes()) == noted:
            yield from _code_changes(read_json(kept.read_text(encoding="utf-8"), str(kept)), self.code[name])
        else:
            yield f"code changed; where is not known, {kept.relative_to(self.root)} is not of these results"

    def _recorded(self, entry: Entry, stage: Stage) -> dict[str, tuple[Any, Any]]:
        """Parameter -> its value when the stage ran, and today's."""
        return {key: (entry.params.get(key, MISSING), _value(self.params, key)) for key in stage.params}

    def _outside(self, name: str, tier: str, unknown: bool) -> Iterator[str]:
        """Results that DVC did not make: their own record says from which revision they are."""
        path = self.reports / tier / "metrics" / f"{name}.json"
        why = "no entry in dvc.lock" if unknown else "replaced since DVC made it"
        if not path.is_file():
            yield f"{why}, and nothing here says what it was made by" if unknown else why
            return
        noted = read_metrics(path.read_text(encoding="utf-8"), str(path)).get("provenance", {})
        git = noted.get("git", {})
        revision = git.get("revision") or "unknown"
        state = " with uncommitted changes" if git.get("dirty") else ""
        yield f"{why}: made at revision {revision[:SHORT]}{state} outside the pipeline"
        yield from self._since(name, revision)
        yield from _shown("parameters", _changes(self._used(name, tier, noted.get("params", {}))))

    def _since(self, name: str, revision: str) -> Iterator[str]:
        """Say how the code differs from that of a revision."""
        library = self._at(revision)
        if library is None:
            yield "this clone does not have that revision to compare with"
            return
        try:
            before = code_of(f"notebooks/{name}.ipynb", library=library)
        except Problem:
            yield "that revision has no such notebook to compare with"
            return
        reasons = list(_code_changes(before, self.code[name]))
        yield from reasons or ["the code is the same today"]

    def _at(self, revision: str) -> Library | None:
        if revision not in self._revisions:
            files = files_at(revision, self.root)
            self._revisions[revision] = Library(files) if files else None
        return self._revisions[revision]

    def _used(self, name: str, tier: str, noted: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Parameters that a notebook recorded, by their names in params.yaml, and today's values."""
        names = {"tier": f"tier.{tier}.{name}"}
        pairs = {names.get(key, key): value for key, value in noted.items()}
        today = {key: _value(self.completed, key) for key in pairs}
        return {key: (value, today[key]) for key, value in pairs.items() if _alike(value, today[key])}


def _code_changes(before: Code, now: Code) -> Iterator[str]:
    changed = [name for name in now if name in before and now[name] != before[name]]
    yield from _shown("code changed", changed)
    yield from _shown("code new", [name for name in now if name not in before])
    yield from _shown("code gone", [name for name in before if name not in now])


def _shown(what: str, names: Sequence[str]) -> Iterator[str]:
    """The first few, and how many there are."""
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        yield f"{what}: {', '.join(names[:SHOWN])}{more}"


def _changes(pairs: dict[str, tuple[Any, Any]]) -> list[str]:
    """`name old -> new` of every value that differs, down to the innermost."""
    changes = []
    for name, (before, now) in pairs.items():
        if isinstance(before, dict) and isinstance(now, dict):
            inner = {}
            for key in {**before, **now}:
                inner[f"{name}.{key}"] = (before.get(key, MISSING), now.get(key, MISSING))
            changes += _changes(inner)
        elif _plain(before) != _plain(now):
            changes.append(f"{name} {_word(before)} -> {_word(now)}")
    return changes


def _alike(value: Any, today: Any) -> bool:
    """Whether a recorded value can be compared: part of a block, recorded under the block's name, cannot."""
    return today is not MISSING and isinstance(value, dict) == isinstance(today, dict)


def _plain(value: Any) -> Any:
    """A number that YAML takes for a word, such as 1e-3, as the number that it is."""
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return float(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value


def _word(value: Any) -> str:
    return "nothing" if value is MISSING else str(value)


def _value(params: dict[str, Any], key: str) -> Any:
    """The value under a dotted name."""
    value: Any = params
    for part in key.split("."):
        value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
    return value
