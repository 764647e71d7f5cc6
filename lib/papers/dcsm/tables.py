"""The tables of the DCSM notebooks: rows are ways of turning the same raw maps into a segmentation, scored on the same images."""
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from lib.base.problem import Problem
from lib.base.progress import progress
from lib.data.dataset import Dataset, Sample
from lib.metrics import bootstrap
from lib.metrics.bootstrap import Chance, Table, draws, interval, summarise
from lib.metrics.miou import Confusions, confusion
from lib.metrics.multilabel import labels, multilabel_scores
from lib.nets.fcn import IMAGE, Fcn
from lib.papers.dcsm.blocks import blocks
from lib.papers.dcsm.maps import (
    ABLATIONS,
    BLOCKS,
    GUIDED,
    PLAIN,
    SIMONYAN,
    WIDE,
    image_maps,
    load_raw,
    load_scores,
    samples_with_maps,
    write,
)
from lib.papers.dcsm.method import (
    Candidates,
    RawMaps,
    enlarge,
    enlarged,
    label_map,
    saliency,
    with_background,
)
from lib.papers.dcsm.settings import DcsmSettings, MapsSettings
from lib.refine.crf import crf_of
from lib.report.paper import Paper
from lib.report.results import read_json

PAPER = Paper.read(Path(__file__).with_name("paper.yaml"))

Items = Sequence[tuple[Sample, Path]]   # images with the files of their raw maps


@dataclass(frozen=True)
class Row:
    """One way: which raw maps, how they are put together, with the CRF or without, and for which classes.

    `targets` None: those that were kept when the raw maps were computed; a number: those whose score exceeds it; "truth": those that
    the image is labelled with. Of the last two only candidates, which have raw maps, can be meant.
    """
    settings: DcsmSettings
    kind: str = GUIDED
    crf: bool = True
    targets: float | Literal["truth"] | None = None


@dataclass(frozen=True)
class Split:
    """What was computed once for a network: images with their raw maps, and which layers its blocks mean."""
    items: Items
    ablations: Items
    val: Items
    blocks: Mapping[str, Sequence[str]]
    classes: Sequence[str]


def open_split(dataset: Dataset, folder: Path) -> Split:
    """The raw maps of a network, `build/<tier>/dcsm_maps/<network>`."""
    found = {name: samples_with_maps(dataset.split(name.removesuffix(ABLATIONS)), folder / name)
             for name in ("test", "test" + ABLATIONS, "val") if name != "test" + ABLATIONS or any((folder / name).glob("*.npz"))}
    layers = read_json((folder / BLOCKS).read_text(encoding="utf-8"), str(folder / BLOCKS))
    return Split(found["test"], found.get("test" + ABLATIONS, []), found["val"], layers | {IMAGE: [IMAGE]}, dataset.classes)


def write_split(fcn: Fcn, samples: Sequence[Sample], settings: MapsSettings, side: int, folder: Path) -> Split:
    """The same for images of one's own: their main raw maps are computed into a folder."""
    items = [(sample, folder / f"{sample.id}.npz") for sample in samples]
    for sample, path in progress(items, f"raw maps, {fcn.name}"):
        write(path, image_maps(fcn, sample.photo(), settings, side, False))
    return Split(items, [], [], blocks(fcn.trunk) | {IMAGE: (IMAGE,)}, fcn.classes)


def score_rows(items: Items, rows: Mapping[str, Row], split: Split, label: str) -> dict[str, Confusions]:
    """Confusion matrices of every row, image by image."""
    if not items:
        raise Problem(f"{label}: no raw maps were computed for it; raise the number of images under dcsm_maps in params.yaml.")
    found: dict[str, list[np.ndarray]] = {name: [] for name in rows}
    for sample, path in progress(list(items), label):
        for name, labelled in label_maps(sample, path, rows, split).items():
            found[name].append(confusion(sample.mask("class_masks"), labelled, len(split.classes) + 1))
    return {name: Confusions.of(matrices) for name, matrices in found.items()}


@torch.no_grad()
def label_maps(sample: Sample, path: Path, rows: Mapping[str, Row], split: Split) -> dict[str, np.ndarray]:
    """Every row's segmentation of one image `(H, W)`; raw maps are enlarged once, the CRF's lattice is made once."""
    photo, raw, solvers, found = np.asarray(sample.photo()), {}, {}, {}
    for name, row in rows.items():
        key = (row.kind, row.settings.map_stride)
        if key not in raw:
            raw[key] = enlarged(_load(path, row.kind), row.settings.map_stride)
        _check_candidates(raw[key], row, split)
        here = raw[key] if row.targets is None else retargeted(raw[key], _wanted(row.targets, sample, path, split))
        settings = at_its_scale(row.settings, raw[key]) if row.kind == SIMONYAN else row.settings
        targets = here.candidates.order[:here.candidates.kept]
        probability = with_background(enlarge(saliency(here, settings, split.blocks), photo.shape[1::-1]))
        if row.crf:
            field = (row.settings.crf, len(probability))
            if field not in solvers:
                solvers[field] = crf_of(photo, len(probability), row.settings.crf)
            probability = solvers[field](probability)
        found[name] = label_map(probability, targets)
    return found


def at_its_scale(settings: DcsmSettings, raw: RawMaps) -> DcsmSettings:
    """Simonyan's raw maps have one scale, whatever those of the method are."""
    return replace(settings, scales=(next(iter(raw.maps))[0],))


def retargeted(raw: RawMaps, wanted: Collection[int]) -> RawMaps:
    """The same raw maps with other classes as targets: the candidates among `wanted`, in their order, or the best one if there are none."""
    order = raw.candidates.order
    first = [c for c in order if c in wanted] or order[:1]
    again = first + [c for c in order if c not in first]
    places = [order.index(c) for c in again]
    return replace(raw, maps={key: maps[places] for key, maps in raw.maps.items()}, candidates=Candidates(again, len(first)))


def _wanted(targets: float | Literal["truth"], sample: Sample, path: Path, split: Split) -> list[int]:
    if targets == "truth":
        return [split.classes.index(name) for name in sample.labels]
    return np.flatnonzero(load_scores(path).max(0) > targets).tolist()


def _check_candidates(raw: RawMaps, row: Row, split: Split) -> None:
    if row.kind != SIMONYAN and len(raw.candidates.order) < min(row.settings.candidates, len(split.classes)):
        raise Problem(f"candidates: N = {row.settings.candidates} is more than the {len(raw.candidates.order)} that raw maps were computed for; "
                      "raise dcsm_maps.candidates (or wide) in params.yaml.")


def _load(path: Path, kind: str) -> RawMaps:
    """Maps of a kind; the guided ones of an ablation's image lie partly with those of the main tables."""
    main = path.parent.with_name(path.parent.name.removesuffix(ABLATIONS)) / path.name
    if kind != GUIDED or main == path:
        return load_raw(main if kind == SIMONYAN else path, kind)
    first = load_raw(main, kind)
    return replace(first, maps={**first.maps, **load_raw(path, kind).maps})


def table(confusions: Mapping[str, Confusions], items: Items, classes: Sequence[str], pairs: Sequence[tuple[str, str]],
          chance: Chance) -> Table:
    """Rows with intervals, and paired comparisons, as the metrics file holds them.

    The mean is over the background and the classes that the images are labelled with, the same for every row and draw.
    """
    labelled = {name for sample, _ in items for name in sample.labels}
    shown = [0, *(number for number, name in enumerate(classes, start=1) if name in labelled)]
    weights = chance.draws(len(items))
    scores = {name: found.scores(weights, shown) for name, found in confusions.items()}
    return bootstrap.table(scores, pairs, chance)


def on_common_images(confusions: Mapping[str, Mapping[str, Confusions]], splits: Mapping[str, Split]) -> tuple[dict[str, dict[str, Confusions]], Items]:
    """{network: {row: ...}} of the images that every network was run on, in one order, and these images: then networks can be compared."""
    places = {network: {sample.id: place for place, (sample, _) in enumerate(splits[network].items)} for network in confusions}
    shared = [item for item in next(iter(splits.values())).items if all(item[0].id in known for known in places.values())]
    return {network: {row: Confusions(found.counts[[places[network][sample.id] for sample, _ in shared]]) for row, found in rows.items()}
            for network, rows in confusions.items()}, shared


def class_table(confusions: Mapping[str, Confusions], names: Mapping[str, str], classes: Sequence[str], samples: int, level: float,
                seed: int) -> dict[str, dict]:
    """{class: {metric: interval}} for rows of `confusions` under the metric names given; classes without truth or prediction are left out."""
    weights = draws(len(next(iter(confusions.values())).counts), samples, seed)
    found: dict[str, dict] = {}
    for row, metric in names.items():
        for name, values in zip(("background", *classes), confusions[row].iou(weights).T):
            if not np.isnan(values[0]):
                found.setdefault(name, {})[metric] = interval(values[~np.isnan(values)], level)   # a draw may lack a rare class
    return found


def classifier_table(items: Items, classes: Sequence[str], samples: int, level: float, seed: int) -> dict[str, dict]:
    """Multi-label quality: the strongest score over the main scales, as the maps' candidates are chosen."""
    scores = np.stack([load_scores(path).max(0) for _, path in items])
    truth = labels([sample for sample, _ in items], classes)
    return summarise({"classifier": multilabel_scores(scores, truth, draws(len(items), samples, seed))}, level)


def main_rows(settings: DcsmSettings) -> dict[str, Row]:
    """Tables 1 and 6: the method without and with the CRF (also with the paper's constants of it), and Simonyan's maps."""
    return {"dcsm_no_crf": Row(settings, crf=False), "dcsm_crf": Row(settings),
            "dcsm_paper_crf": Row(replace(settings, crf=settings.crf_paper)), "simonyan_crf": simonyan(settings, settings.alpha_simonyan)}


def limit_rows(settings: DcsmSettings) -> dict[str, Row]:
    """What a better classifier would be worth: the classes of the image's labels in place of those that the network finds."""
    return {"dcsm_true_labels": Row(settings, targets="truth")}


def simonyan(settings: DcsmSettings, alpha: float) -> Row:
    """Simonyan et al.: plain derivatives at the image, the strongest of red, green and blue, one scale, no subtraction."""
    middle = sorted(settings.scales)[len(settings.scales) // 2]
    return Row(replace(settings, scales=(middle,), blocks=(IMAGE,), candidates=0, alpha=alpha, reading="paper", normaliser="own"), SIMONYAN)


def alpha_rows(settings: DcsmSettings, alphas: Sequence[float]) -> dict[str, Row]:
    """Table 1's sweep for both methods."""
    ours = {f"dcsm_{alpha:g}": Row(replace(settings, reading="paper", alpha=alpha)) for alpha in alphas}
    return ours | {f"simonyan_{alpha:g}": simonyan(settings, alpha) for alpha in alphas}


def layer_rows(settings: DcsmSettings, combinations: Sequence[str]) -> dict[str, Row]:
    """Table 2: `block345` means the mean of blocks 3, 4 and 5."""
    return {name: Row(replace(settings, blocks=tuple(f"block{digit}" for digit in name.removeprefix("block")))) for name in combinations}


def scale_rows(settings: DcsmSettings, combinations: Sequence[Sequence[int]]) -> dict[str, Row]:
    """Table 3: rows s300, s400_500, ..."""
    return {"s" + "_".join(map(str, scales)): Row(replace(settings, scales=tuple(scales))) for scales in combinations}


def top_n_rows(settings: DcsmSettings, numbers: Sequence[int], classes: int) -> dict[str, Row]:
    """Table 4: at least N candidates; as many as the network has classes."""
    return {str(n): Row(replace(settings, candidates=n), WIDE) for n in numbers if n <= classes}


def backprop_rows(settings: DcsmSettings) -> dict[str, Row]:
    """Table 5."""
    return {"bp": Row(settings, PLAIN), "guided_bp": Row(settings)}
