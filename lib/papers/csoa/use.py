"""What `python -m lib segment csoa` and `evaluate csoa` do."""
import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from lib.base.paths import BUILD
from lib.base.problem import Problem, nearest
from lib.params import Params, load_params, tier_of

if TYPE_CHECKING:
    from lib.data.dataset import Dataset, Sample
    from lib.papers.csoa.locate import Segmented


def segmenter(args: argparse.Namespace) -> tuple[Callable[[Sequence[Image.Image]], "list[Segmented]"], Sequence[str]]:
    """By the first seed's CSoA of the tier, or by --weights; and its classes."""
    from lib.base.parallel import device_here
    from lib.papers.csoa.locate import segment
    from lib.papers.csoa.runs import POSITION, Job
    from lib.papers.csoa.two_classifiers import load_two_classifiers, read_two_classifiers

    params = load_params()
    dataset, network, seeds = _trained(args, params)
    weights = args.weights or _folder(args, dataset, network) / Job("csoa", POSITION, seeds[0]).name / "weights.safetensors"
    side, net = read_two_classifiers(weights)["side"], load_two_classifiers(weights).to(device_here())
    return lambda photos: segment(net, photos, side, args.threshold), net.classes


def evaluate(args: argparse.Namespace, dataset: "Dataset", samples: Sequence["Sample"]) -> tuple[str, str, dict]:
    """Table 1 of the tier's networks on images of a single object; theta from the folder's validation images, if it has any."""
    from lib.papers.csoa.runs import POSITION, Job
    from lib.papers.csoa.tables import blind_overlaps, module_table
    from lib.papers.csoa.two_classifiers import read_two_classifiers

    params = load_params()
    name, network, seeds = _trained(args, params)
    folder, chance = _folder(args, name, network), params.bootstrap
    variants = params.tier[args.tier].csoa_train.runs[name][network].variants
    files = {"given": [args.weights]} if args.weights else {
        row: [folder / Job(row, POSITION, seed).name / "weights.safetensors" for seed in seeds] for row in variants}
    classes = read_two_classifiers(next(iter(files.values()))[0])["classes"]
    test, val = (_single(part, classes) for part in (samples, dataset.split("val") if any(s.split == "val" for s in dataset.samples) else []))
    if not test:
        raise Problem(f"{args.data}: no image of a single object of the network's classes ({', '.join(classes)}); take another folder or other --weights.")
    tried = params.csoa_thresholds.tried if val else [params.csoa_thresholds.chosen]
    found = {row: [_look(path, val, test, dataset, tried, row) for path in paths] for row, paths in files.items()}
    rows, _ = module_table({row: [v for v, _ in pairs] for row, pairs in found.items()}, {row: [t for _, t in pairs] for row, pairs in found.items()},
                           blind_overlaps(test, dataset.boxes), tried, (chance.samples, chance.level, params.seed))
    return network, f"{len(test)} images", rows


def _look(path: Path, val: Sequence["Sample"], test: Sequence["Sample"], dataset: "Dataset", tried: Sequence[float], row: str) -> tuple:
    """What one network finds in validation and test images; without validation images there is one threshold, and test images serve for both."""
    from lib.base.parallel import device_here
    from lib.papers.csoa.batches import Squares
    from lib.papers.csoa.locate import locate
    from lib.papers.csoa.two_classifiers import load_two_classifiers, read_two_classifiers

    net, squares = load_two_classifiers(path).to(device_here()), Squares(read_two_classifiers(path)["side"])
    found = [locate(net, samples, dataset.boxes, squares, tried, 24, f"{row}, {path.parent.name}") for samples in (val, test) if samples]
    return found[0], found[-1]


def _single(samples: Sequence["Sample"], classes: Sequence[str]) -> list["Sample"]:
    return [s for s in samples if len(s.labels) == 1 and s.labels[0] in classes and s.extra.get("single_object", "1") == "1"]


def _trained(args: argparse.Namespace, params: Params) -> tuple[str, str, list[int]]:
    """(data set, network, seeds) of the tier's table 1."""
    tier = tier_of(params, args.tier)
    tables, runs = tier.csoa, tier.csoa_train.runs
    network = args.network or tables.networks[0]
    if network not in runs[tables.dataset]:
        raise Problem(f'--network: CSoA is not trained with "{network}" in tier {args.tier}{nearest(network, runs[tables.dataset])}')
    return tables.dataset, network, runs[tables.dataset][network].seeds


def _folder(args: argparse.Namespace, dataset: str, network: str) -> Path:
    return BUILD / args.tier / "csoa_train" / dataset / network
