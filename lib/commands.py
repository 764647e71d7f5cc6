"""What `python -m lib` does."""
import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from lib.base.batch import Sparing, batch_size
from lib.base.files import whole_file, write_json
from lib.base.paths import DATA
from lib.base.problem import Problem, nearest
from lib.base.progress import progress
from lib.data.images import read_rgb
from lib.methods import default_threshold, evaluate as score, evaluates, segmenter, segments
from lib.papers.found import Found, Request
from lib.params import load_params, tier_of

USUAL_BATCH = 4   # photographs
HEAT_SHARE = 0.55   # of an overlay: so much is the heat map, the rest the photograph
IMAGES: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")


def segment(args: argparse.Namespace) -> None:
    """Heat map, mask and overlay of every photograph; those already there are left as they are."""
    request = _request(args)
    if not 0 < request.threshold <= 1:
        raise Problem(f"--threshold: {request.threshold} is out of range, it must be above 0 and at most 1.")
    maps_of = segmenter(request)
    photographs = _photographs(args.input)
    todo = [path for path in photographs if not (args.out / f"{path.stem}_overlay.jpg").exists()]
    size = batch_size(request.batch, USUAL_BATCH, todo, lambda paths: maps_of([*map(read_rgb, paths)]))
    sparing = Sparing(maps_of, lambda parts: [found for part in parts for found in part])
    for start in progress(range(0, len(todo), size), "segmenting"):
        paths = todo[start:start + size]
        photos = [read_rgb(path) for path in paths]
        for path, photo, found in zip(paths, photos, sparing(photos), strict=True):
            _write_maps(args.out, path.stem, photo, found, request.threshold)
            if found.names:
                print(f"{path.name}: {', '.join(found.names)}")


def evaluate(args: argparse.Namespace) -> None:
    """Rows with intervals on standard output; the numbers are those of the notebook on the same images."""
    from lib.data.dataset import Dataset, subset

    request = _request(args)
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
