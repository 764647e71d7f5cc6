"""What `python -m lib` does."""
import argparse
from collections import Counter
from pathlib import Path

from lib.base import work
from lib.base.files import write_json
from lib.base.paths import DATA
from lib.methods import evaluate as score, evaluates, request_of
from lib.params import load_params


def evaluate(args: argparse.Namespace) -> None:
    """Rows with intervals on standard output; the numbers are those of the notebook on the same images."""
    from lib.data.dataset import Dataset, subset

    request = request_of(args, evaluates())
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
