"""What `python -m lib` does."""
import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from lib.base import shards, work
from lib.base.batch import AUTO, Sparing, batch_size
from lib.base.files import digest, whole_file, write_json
from lib.base.paths import DATA
from lib.base.problem import Problem, nearest
from lib.data.images import read_rgb
from lib.methods import default_threshold, evaluate as score, evaluates, segmenter, segments
from lib.papers.found import Found, Request
from lib.params import load_params, tier_of

USUAL_BATCH = 4   # photographs
HEAT_SHARE = 0.55   # of an overlay: so much is the heat map, the rest the photograph
IMAGES: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")


@dataclass(frozen=True)
class Batch:
    """Photographs that the method sees together; which those are depends on the folder alone."""
    paths: tuple[Path, ...]

    @property
    def name(self) -> str:
        """What people know it by."""
        return ", ".join(path.name for path in self.paths)


@dataclass(frozen=True)
class Segmented:
    """A batch that was done: a line for each photograph in which classes were found, and what failed."""
    lines: tuple[str, ...]
    failures: Mapping[str, str]


def segment(args: argparse.Namespace) -> None:
    """Heat map, mask and overlay of every photograph; those already there are left as they are."""
    request = _request(args)
    if not 0 < request.threshold <= 1:
        raise Problem(f"--threshold: {request.threshold} is out of range, it must be above 0 and at most 1.")
    work.use(args.jobs, args.cluster)
    share = shards.shard(args.shard)
    photographs = _photographs(args.input)
    size = _batch_size(request, photographs, share)
    batches = [Batch(tuple(photographs[i:i + size])) for i in range(0, len(photographs), size)]
    own = share.part(batches)
    asks_for = digest({"method": request.method, "tier": request.tier, "network": request.network,
                       "threshold": request.threshold, "batch": size, "photographs": len(photographs)})
    shards.check(args.out, share, asks_for)
    todo = [batch for batch in own if _missing(batch, args.out)]
    failures: dict[str, str] = {}
    for segmented in work.each(partial(_segmenter, request, args.out), todo, "segmenting"):
        failures |= segmented.failures
        for line in segmented.lines:
            print(line)
    if share.of > 1:
        count = sum(len(batch.paths) for batch in own)
        shards.note(args.out, share, {"segment": shards.Done(count, failures, asks_for)})
    if failures:
        raise work.problem(failures, len(photographs), "segmenting")


def _segmenter(request: Request, out: Path) -> Callable[[Batch], Segmented]:
    maps_of = Sparing(segmenter(request), _joined)

    def do(batch: Batch) -> Segmented:
        photos, failures = _decoded(batch)
        maps = maps_of(list(photos.values())) if photos else []
        lines = []
        for (path, photo), found in zip(photos.items(), maps, strict=True):
            if not _overlay_of(path, out).exists():
                _write_maps(out, path.stem, photo, found, request.threshold)
                if found.names:
                    lines.append(f"{path.name}: {', '.join(found.names)}")
        return Segmented(tuple(lines), failures)
    return do


def _batch_size(request: Request, photographs: Sequence[Path], share: shards.Shard) -> int:
    """Photographs at a time; where they are to be found, by trying here."""
    if request.batch != AUTO:
        return request.batch or USUAL_BATCH
    if share.of > 1:
        raise Problem("--batch auto: every machine would find another number, and shares would not fit "
                      "together; give a number with --shard.")
    maps_of = segmenter(request)
    return batch_size(AUTO, USUAL_BATCH, photographs, lambda paths: maps_of([*map(read_rgb, paths)]))


def _joined(parts: Sequence[list[Found]]) -> list[Found]:
    return [found for part in parts for found in part]


def _decoded(batch: Batch) -> tuple[dict[Path, Image.Image], dict[str, str]]:
    """The photographs of a batch, and why some of them cannot be read."""
    photos, failures = {}, {}
    for path in batch.paths:
        try:
            photos[path] = read_rgb(path)
        except Problem as problem:
            failures[path.name] = str(problem)
    return photos, failures


def _missing(batch: Batch, out: Path) -> bool:
    return not all(_overlay_of(path, out).exists() for path in batch.paths)


def _overlay_of(path: Path, out: Path) -> Path:
    return out / f"{path.stem}_overlay.jpg"


def evaluate(args: argparse.Namespace) -> None:
    """Rows with intervals on standard output; the numbers are those of the notebook on the same images."""
    from lib.data.dataset import Dataset, subset

    request = _request(args)
    work.use(args.jobs, args.cluster)
    dataset = Dataset(args.data)
    samples = subset(dataset.split(args.split), args.images)
    scored = score(request, dataset, samples)
    note = f" ({scored.note})" if scored.note else ""
    print(f"{scored.network} on {scored.images} images{note}")
    for row, scores in scored.rows.items():
        print(f"{row:12s}" + "".join(_cell(metric, value) for metric, value in scores.items()))
    if args.json:
        write_json(args.json, {"method": request.method, "network": scored.network, "images": scored.images,
                               "results": scored.rows})


def _cell(metric: str, value: dict[str, float]) -> str:
    return f"  {metric} {value['mean']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def _request(args: argparse.Namespace) -> Request:
    """The words of the command line as a request; a method or tier that does not exist is named."""
    known = segments() if args.command == "segment" else evaluates()
    if args.method not in known:
        raise Problem(f'{args.command}: there is no method "{args.method}"{nearest(args.method, known)}')
    tier_of(load_params(), args.tier)
    shared = {"method": args.method, "tier": args.tier, "network": args.network, "weights": args.weights,
              "batch": args.batch}
    if args.command == "evaluate":
        return Request(**shared, split=args.split, images=args.images)
    given = args.threshold
    return Request(**shared, threshold=default_threshold(args.method) if given is None else given)


def data(args: argparse.Namespace) -> None:
    """Build or check a dataset folder."""
    from lib.data.dataset import Dataset

    if args.action == "collage":
        _compose(args)
    elif args.action == "mirror":
        from lib.data.mirror import import_mirror
        import_mirror(args.name, args.folder, args.source)
    elif args.action == "official":
        from lib.data.official import import_official
        import_official(args.name, args.source or Path("datasets") / args.name, args.folder)
    dataset = Dataset(args.folder)
    images = Counter(sample.split for sample in dataset.samples)
    splits = ", ".join(f"{number} {split}" for split, number in images.items())
    print(f"{args.folder}: {dataset.name}, {splits}, {len(dataset.classes)} classes; every file as listed.")


def params(_: argparse.Namespace) -> None:
    """Check params.yaml."""
    print(f"params.yaml is valid; active tiers: {', '.join(load_params().tiers)}.")


def _compose(args: argparse.Namespace) -> None:
    from lib.data.collage.compose import build_collage

    images = {split: getattr(args, split) for split in ("train", "val", "test")}
    build_collage(args.folder, DATA / ".packages", args.seed, images, args.single)


def _photographs(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise Problem(f"{source}: there is no such file or folder.")
    photographs = sorted(path for path in source.iterdir() if path.suffix.lower() in IMAGES)
    if not photographs:
        raise Problem(f"{source}: holds no image ({', '.join(IMAGES)}).")
    if len({path.stem for path in photographs}) < len(photographs):
        raise Problem(f"{source}: two images share a name and differ in their ending only; "
                      "their maps would overwrite each other.")
    return photographs


def _write_maps(folder: Path, name: str, photo: Image.Image, found: Found, threshold: float) -> None:
    """NAME_heat.png, NAME_mask.png, NAME_classes.png where there are any, and NAME_overlay.jpg last.

    The others are there whenever the overlay is.
    """
    small = Image.fromarray(found.heat[0].numpy())
    values = np.asarray(small.resize(photo.size, Image.Resampling.BILINEAR)).clip(0, 1)
    pictures = {"heat.png": Image.fromarray(np.uint8(np.round(255 * values))),
                "mask.png": Image.fromarray(np.uint8(255 * (values >= threshold)))}
    if found.labels is not None:
        pictures["classes.png"] = _in_colours(found.labels)
    pictures["overlay.jpg"] = _overlay(photo, values)
    for ending, picture in pictures.items():
        with whole_file(folder / f"{name}_{ending}") as part:
            picture.save(part)


def _in_colours(labels: np.ndarray) -> Image.Image:
    """Class numbers as a picture in VOC's colours."""
    from lib.report.figures import palette

    picture = Image.fromarray(labels, "P")
    picture.putpalette(palette().ravel().tolist())
    return picture


def _overlay(photo: Image.Image, values: np.ndarray) -> Image.Image:
    """The photograph under its heat map."""
    from matplotlib import colormaps

    colours = colormaps["magma"](values)[..., :3]
    return Image.blend(photo, Image.fromarray(np.uint8(255 * colours)), HEAT_SHARE)
