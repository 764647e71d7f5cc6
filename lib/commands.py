"""What `python -m lib` does."""
import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lib.base.files import whole_file, write_json
from lib.base.paths import DATA
from lib.base.problem import Problem, nearest
from lib.base.progress import progress
from lib.data.images import read_rgb
from lib.methods import default_threshold, method_of, multi_label
from lib.papers.found import Found
from lib.params import load_params, tier_of

if TYPE_CHECKING:
    from lib.data.dataset import Dataset, Sample

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")


def segment(args: argparse.Namespace) -> None:
    """Heat map, mask and overlay of every photograph; those already there are left as they are."""
    if args.threshold is None:
        args.threshold = default_threshold(args.method)
    if not 0 < args.threshold <= 1:
        raise Problem(f"--threshold: {args.threshold} is out of range, it must be above 0 and at most 1.")
    maps_of = method_of(args)
    todo = [path for path in _photographs(args.input) if not (args.out / f"{path.stem}_overlay.jpg").exists()]
    size = args.batch or 4
    for start in progress(range(0, len(todo), size), "segmenting"):
        paths = todo[start:start + size]
        photos = [read_rgb(path) for path in paths]
        for path, photo, found in zip(paths, photos, maps_of(photos)):
            _write_maps(args.out, path.stem, photo, found, args.threshold)
            if found.names:
                print(f"{path.name}: {', '.join(found.names)}")


def evaluate(args: argparse.Namespace) -> None:
    """Rows with intervals on standard output; the numbers are those of the notebook on the same images."""
    from lib.data.dataset import Dataset, subset

    params = load_params()
    if args.method not in (known := ("rcam", "rcam_box", "dcsm", "csoa", "iam")):
        raise Problem(f'evaluate: there is no method "{args.method}"{nearest(args.method, known)}')
    tier_of(params, args.tier)   # a misspelt one is named before anything is read
    dataset = Dataset(args.data)
    samples = subset(dataset.split(args.split), args.images)
    network, facts, rows = _evaluators()[args.method](args, dataset, samples)
    print(f"{network} on {facts}")
    for row, scores in rows.items():
        print(f"{row:12s}" + "".join(f"  {m} {v['mean']:.3f} [{v['low']:.3f}, {v['high']:.3f}]" for m, v in scores.items()))
    if args.json:
        write_json(args.json, {"method": args.method, "network": network, "images": int(facts.split()[0]), "results": rows})


def _evaluators() -> dict[str, Callable[..., tuple[str, str, dict]]]:
    from lib.papers.csoa.use import evaluate as evaluate_csoa
    from lib.papers.iam.use import evaluate as evaluate_iam

    return {"rcam": _evaluate_rcam, "rcam_box": _evaluate_rcam, "dcsm": _evaluate_dcsm, "csoa": evaluate_csoa, "iam": evaluate_iam}


def _evaluate_rcam(args: argparse.Namespace, _: "Dataset", samples: Sequence["Sample"]) -> tuple[str, str, dict]:
    from lib.papers.rcam import tables as rcam_tables

    params = load_params()
    run, chance = params.tier[args.tier].rcam, params.bootstrap
    network = rcam_tables.open_network(args.network or run.networks[0], params.rcam, rcam_tables.default_device())
    batch = args.batch or run.batch
    scored = (rcam_tables.table1(network, samples, params.rcam, batch)[0] if args.method == "rcam"
              else rcam_tables.table2(network, samples, params.rcam, batch))
    rows, _ = scored.table([], chance.samples, chance.level, params.seed)
    return network.name, f"{len(scored.ids)} images ({scored.dropped} without foreground left out)", rows


def _evaluate_dcsm(args: argparse.Namespace, dataset: "Dataset", samples: Sequence["Sample"]) -> tuple[str, str, dict]:
    """By way of raw maps in a temporary folder, as the notebooks go."""
    import tempfile

    from lib.papers.dcsm import maps as dcsm_maps, tables as dcsm_tables

    params = load_params()
    fcn, side, chance = multi_label(args), params.tier[args.tier].dcsm_maps.side, params.bootstrap
    if list(fcn.classes) != dataset.classes:
        raise Problem(f"{args.data}: its classes are not those that the network was trained on; give --weights that were trained on them.")
    for sample in samples:
        sample.mask("class_masks")   # one that is missing is named before the expensive part
    with tempfile.TemporaryDirectory() as folder:
        split = dcsm_tables.write_split(fcn, samples, params.dcsm_maps, side, Path(folder))
        rows = {name: row for name, row in dcsm_tables.main_rows(params.dcsm).items() if row.kind == dcsm_maps.GUIDED}
        found = dcsm_tables.score_rows(split.items, rows, split, "segmenting")
    return fcn.name, f"{len(samples)} images", dcsm_tables.table(found, split.items, dataset.classes, [], chance.samples, chance.level, params.seed)[0]


def data(args: argparse.Namespace) -> None:
    """Build or check a dataset folder."""
    from lib.data.dataset import Dataset

    if args.action == "collage":
        from lib.data.collage.compose import build_collage
        build_collage(args.folder, DATA / ".packages", args.seed, {split: getattr(args, split) for split in ("train", "val", "test")}, args.single)
    elif args.action == "mirror":
        from lib.data.mirror import import_mirror
        import_mirror(args.name, args.folder, args.source)
    elif args.action == "official":
        from lib.data.official import import_official
        import_official(args.name, args.source or Path("datasets") / args.name, args.folder)
    dataset = Dataset(args.folder)
    splits = {split: sum(s.split == split for s in dataset.samples) for split in dict.fromkeys(s.split for s in dataset.samples)}
    print(f"{args.folder}: {dataset.name}, {', '.join(f'{n} {split}' for split, n in splits.items())}, {len(dataset.classes)} classes; every file as listed.")


def params(_: argparse.Namespace) -> None:
    """Check params.yaml."""
    print(f"params.yaml is valid; active tiers: {', '.join(load_params().tiers)}.")


def _photographs(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise Problem(f"{source}: there is no such file or folder.")
    found = sorted(p for p in source.iterdir() if p.suffix.lower() in IMAGES)
    if not found:
        raise Problem(f"{source}: holds no image ({', '.join(IMAGES)}).")
    if len({p.stem for p in found}) < len(found):
        raise Problem(f"{source}: two images share a name and differ in their ending only; their maps would overwrite each other.")
    return found


def _write_maps(folder: Path, name: str, photo: Image.Image, found: Found, threshold: float) -> None:
    """NAME_heat.png, NAME_mask.png, NAME_classes.png where there are any, and, last, NAME_overlay.jpg: the others exist whenever it does."""
    from matplotlib import colormaps

    from lib.report.figures import palette

    values = np.asarray(Image.fromarray(found.heat[0].numpy()).resize(photo.size, Image.Resampling.BILINEAR)).clip(0, 1)
    colour = Image.fromarray(np.uint8(255 * colormaps["magma"](values)[..., :3]))
    pictures = {"heat.png": Image.fromarray(np.uint8(np.round(255 * values))), "mask.png": Image.fromarray(np.uint8(255 * (values >= threshold)))}
    if found.labels is not None:
        pictures["classes.png"] = Image.fromarray(found.labels, "P")
        pictures["classes.png"].putpalette(palette().ravel().tolist())
    pictures["overlay.jpg"] = Image.blend(photo, colour, 0.55)
    for ending, picture in pictures.items():
        with whole_file(folder / f"{name}_{ending}") as part:
            picture.save(part)
