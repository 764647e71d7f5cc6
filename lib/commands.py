"""What `python -m lib` does."""
import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lib.data.images import read_rgb
from lib.files import whole_file, write_json
from lib.params import load_params
from lib.paths import DATA
from lib.problem import Problem, nearest
from lib.progress import progress

if TYPE_CHECKING:
    from torch import Tensor

    from lib.nets.network import Network
    from lib.papers.rcam_settings import RcamSettings

STEPS = ("g_weak", "cam1", "cam2", "rcam1", "rcam2", "rcam3", "rcam")
IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")


def segment(args: argparse.Namespace) -> None:
    """Heat map, mask and overlay of every photograph; those already there are left as they are."""
    if not 0 < args.threshold <= 1:
        raise Problem(f"--threshold: {args.threshold} is out of range, it must be above 0 and at most 1.")
    heat_maps = _method(args.method)
    todo = [path for path in _photographs(args.input) if not (args.out / f"{path.stem}_overlay.jpg").exists()]
    from lib.papers.rcam_tables import open_network

    settings = load_params().rcam
    network, size = open_network(args.network, settings) if todo else None, args.batch or 4
    for start in progress(range(0, len(todo), size), "segmenting"):
        paths = todo[start:start + size]
        photos = [read_rgb(path) for path in paths]
        for path, photo, heat in zip(paths, photos, heat_maps(network, photos, settings)):
            _write_maps(args.out, path.stem, photo, heat, args.threshold)


def evaluate(args: argparse.Namespace) -> None:
    """Rows with intervals on standard output; the numbers are those of the notebook on the same images."""
    from lib.data.dataset import Dataset
    from lib.papers import rcam_tables
    from lib.papers.scoring import subset

    params = load_params()
    if args.method not in ("rcam", "rcam_box"):
        raise Problem(f'evaluate: there is no method "{args.method}"{nearest(args.method, ("rcam", "rcam_box"))}')
    if args.tier not in params.tier:
        raise Problem(f'--tier: there is no tier "{args.tier}"{nearest(args.tier, params.tier)}')
    run, chance = params.tier[args.tier].rcam, params.bootstrap
    samples = subset(Dataset(args.data).split(args.split), args.images)
    network = rcam_tables.open_network(args.network or run.networks[0], params.rcam, rcam_tables.default_device())
    batch = args.batch or run.batch
    scored = (rcam_tables.table1(network, samples, params.rcam, batch)[0] if args.method == "rcam"
              else rcam_tables.table2(network, samples, params.rcam, batch))
    rows, _ = scored.table([], chance.samples, chance.level, params.seed)
    print(f"{network.name} on {len(scored.ids)} images ({scored.dropped} without foreground left out)")
    for row, scores in rows.items():
        print(f"{row:12s}" + "".join(f"  {m} {v['mean']:.3f} [{v['low']:.3f}, {v['high']:.3f}]" for m, v in scores.items()))
    if args.json:
        write_json(args.json, {"method": args.method, "network": network.name, "images": len(scored.ids), "results": rows})


def data(args: argparse.Namespace) -> None:
    """Build or check a dataset folder."""
    from lib.data.dataset import Dataset

    if args.action == "collage":
        from lib.data.collage import build_collage
        build_collage(args.folder, DATA / ".packages", args.seed, {split: getattr(args, split) for split in ("train", "val", "test")})
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


def _method(name: str) -> Callable[["Network", Sequence[Image.Image], "RcamSettings"], "Tensor"]:
    from lib.papers.rcam import rcam
    from lib.papers.rcam_box import rcam_box

    if name == "rcam_box":
        return rcam_box
    if name not in STEPS:
        raise Problem(f'segment: there is no method "{name}"{nearest(name, (*STEPS, "rcam_box"))}')
    return lambda network, photos, settings: rcam(network, photos, settings).maps[name]


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


def _write_maps(folder: Path, name: str, photo: Image.Image, heat: "Tensor", threshold: float) -> None:
    """NAME_heat.png, NAME_mask.png and, last, NAME_overlay.jpg: the others exist whenever it does."""
    from matplotlib import colormaps

    values = np.asarray(Image.fromarray(heat[0].numpy()).resize(photo.size, Image.Resampling.BILINEAR)).clip(0, 1)
    colour = Image.fromarray(np.uint8(255 * colormaps["magma"](values)[..., :3]))
    pictures = {"heat.png": Image.fromarray(np.uint8(np.round(255 * values))), "mask.png": Image.fromarray(np.uint8(255 * (values >= threshold))),
                "overlay.jpg": Image.blend(photo, colour, 0.55)}
    for ending, picture in pictures.items():
        with whole_file(folder / f"{name}_{ending}") as part:
            picture.save(part)
