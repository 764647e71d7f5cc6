"""`python -m lib segment`: heat maps, masks and overlays of photographs, by any method."""
import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from lib.base import shards, work
from lib.base.batch import AUTO, Sparing, batch_size
from lib.base.files import digest
from lib.base.problem import Problem, one_line, say
from lib.methods import decisive, request_of, segmenter, segments
from lib.papers.found import Found, Request
from lib.segment.photographs import Batch, batches_of, blocked, decoded, photographs
from lib.segment.pictures import pictures_of
from lib.segment.results import Results

USUAL_BATCH = 4   # photographs


@dataclass(frozen=True)
class Segmented:
    """A batch that was done: a line for each photograph in which classes were found, and what failed."""
    lines: tuple[str, ...]
    failures: Mapping[str, str]


@dataclass(frozen=True)
class Todo:
    """A batch of which some results are not there, or follow from something else."""
    batch: Batch
    missing: tuple[Results, ...]

    @property
    def name(self) -> str:
        """What people know it by."""
        return self.batch.name


def segment(args: argparse.Namespace) -> None:
    """Heat map, mask and overlay of every photograph; what is there and follows from the same is kept."""
    request = request_of(args, segments())
    if not 0 < request.threshold <= 1:
        raise Problem(f"--threshold: {request.threshold} is out of range, it must be above 0 and at most 1.")
    work.use(args.jobs, args.cluster)
    share = shards.shard(args.shard)
    paths = photographs(args.input, args.out)
    size = _batch_size(request, paths, share)
    batches = _batches(request, paths, size)
    own = share.part(batches)
    facts = decisive(request)
    asks_for = digest({"asked": facts, "batch": size, "photographs": len(paths)})
    shards.check(args.out, share, asks_for)
    todo = _todo(own, args.out, digest(facts))
    failures: dict[str, str] = {}
    for segmented in work.each(partial(_segmenter, request), todo, "segmenting"):
        failures |= segmented.failures
        for line in segmented.lines:
            print(one_line(line))
    if share.of > 1:
        count = sum(len(batch.paths) for batch in own)
        shards.note(args.out, share, {"segment": shards.Done(count, failures, asks_for)})
    if failures:
        if len(failures) > 1:
            for reason in failures.values():
                say(reason)
        raise work.problem(failures, len(paths), "segmenting")


def _batches(request: Request, paths: Sequence[Path], size: int) -> list[Batch]:
    """As large as was asked for; where nothing was, large photographs are fewer at a time."""
    if request.batch is None:
        return batches_of(paths, size)
    return [Batch(tuple(paths[start:start + size])) for start in range(0, len(paths), size)]


def _todo(batches: Sequence[Batch], out: Path, asked: str) -> list[Todo]:
    todo = []
    for batch in batches:
        results = [Results(path, out, asked) for path in batch.paths]
        missing = tuple(each for each in results if not each.are_there())
        if missing:
            todo.append(Todo(batch, missing))
    return todo


def _segmenter(request: Request) -> Callable[[Todo], Segmented]:
    maps_of = Sparing(segmenter(request), _joined)

    def do(todo: Todo) -> Segmented:
        failures = blocked(todo.missing)
        photos, unreadable = decoded(todo.batch.paths)
        maps = maps_of(list(photos.values())) if photos else []
        found = dict(zip(photos, maps, strict=True))
        lines = []
        for results in todo.missing:
            path = results.photograph
            if path not in found or path.name in failures:
                continue
            results.write(*pictures_of(photos.pop(path), found[path], request.threshold))
            if found[path].names:
                lines.append(f"{path.name}: {', '.join(found[path].names)}")
        return Segmented(tuple(lines), failures | unreadable)
    return do


def _batch_size(request: Request, paths: Sequence[Path], share: shards.Shard) -> int:
    """Photographs at a time; where they are to be found, by trying here."""
    if request.batch != AUTO:
        return request.batch or USUAL_BATCH
    if share.of > 1:
        raise Problem("--batch auto: every machine would find another number, and shares would not fit "
                      "together; give a number with --shard.")
    readable = [path for path in paths if decoded([path])[0]]
    maps_of = segmenter(request)
    return batch_size(AUTO, USUAL_BATCH, readable, lambda some: maps_of(_photos(some)))


def _photos(paths: Sequence[Path]) -> list[Image.Image]:
    return list(decoded(paths)[0].values())


def _joined(parts: Sequence[list[Found]]) -> list[Found]:
    return [found for part in parts for found in part]
