"""What IAM's notebooks ask of every image: answered in one look at it, and kept as files.

Three notebooks want rows of the same images, and each row starts from the same forward pass, the same way
down from the peaks and the same proposals. The stage iam_rows makes them all at once.
"""
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lib.base.files import whole_file
from lib.base.paths import BUILD
from lib.base.problem import Problem
from lib.base.shards import WHOLE, FilledFolder, Shard
from lib.data.dataset import Sample
from lib.metrics.instances import Compared
from lib.papers.iam.rows import (
    BATCH,
    Rated,
    RowKey,
    Rows,
    Scene,
    SceneRows,
    best_of_maps,
    box_rows,
    crf_refinements,
    other_refinements,
    peak_rows,
    refined_rows,
    scenes_of,
)
from lib.papers.iam.settings import TABLE_K, FillingJob, IamConstants, crfs_of
from lib.papers.iam.studies import OpposedShares, PseudoMasks, opposed_shares, pseudo_masks_of
from lib.papers.iam.trained import Trained

Targets = Sequence[tuple[str, PseudoMasks]]   # row -> pseudo masks of a peak
# Groups of rows in a file.
TABLES, CRFS, MAPS = "tables", "crfs", "maps"


@dataclass(frozen=True)
class Findings:
    """Everything that the notebooks want of one image.

    tables    instance masks: PRM, IAM by k and seed and of held-out classes, by other refinements, boxes
    crfs      the main module's masks by every ConvCRF that is tried; of validation images alone
    targets   what pseudo masks are worth; of validation images alone
    maps      maps at the threshold where they fit best; of test images alone
    arrows    whether filling weights turn at boundaries; of test images alone
    """
    tables: SceneRows
    crfs: SceneRows = field(default_factory=dict)
    targets: Targets = ()
    maps: Mapping[str, Compared] = field(default_factory=dict)
    arrows: OpposedShares | None = None


def look(trained: Trained, constants: IamConstants, scene: Scene, split: str) -> Findings:
    """Answer all questions about one image."""
    settings = trained.settings
    tables = peak_rows(trained, scene, list(trained.fillings))
    tables |= refined_rows(trained, scene, other_refinements(settings))
    tables |= box_rows(scene, constants.cams)
    if split == "val":
        crfs = crf_refinements(crfs_of(settings, constants))
        targets = list(pseudo_masks_of(settings, scene, TABLE_K))
        return Findings(tables, crfs=refined_rows(trained, scene, crfs), targets=targets)
    return Findings(tables, maps=best_of_maps(trained, scene), arrows=opposed_shares(trained, scene))


# Whole splits

@dataclass(frozen=True)
class Part:
    """The images of one forward pass, and the file with what is found in them."""
    samples: Sequence[Sample]
    path: Path


def compute(trained: Trained, constants: IamConstants, samples: Mapping[str, Sequence[Sample]], folder: Path,
            facts: Mapping[str, Any], share: Shard = WHOLE) -> None:
    """Look at the images of every split, and leave `folder/<split>/<number>.npz`.

    Files that are there already, from the same `facts` and images, are kept.
    """
    parts = []
    ids = {}
    for split, of_split in samples.items():
        ids[split] = [sample.id for sample in of_split]
        for number, start in enumerate(range(0, len(of_split), BATCH)):
            parts.append(Part(of_split[start:start + BATCH], folder / split / f"{number:04d}.npz"))
    own_facts = {"settings": asdict(trained.settings), "cams": constants.cams, "crfs": constants.crfs,
                 "images": ids}
    filled = FilledFolder(folder, {**facts, **own_facts})
    filled.begin(parts, share)
    filled.fill(partial(_looker, trained, constants), parts, "rows of IAM", share)


def _looker(trained: Trained, constants: IamConstants) -> Callable[[Part], None]:
    def of_part(part: Part) -> None:
        found = {}
        for scene in scenes_of(trained, part.samples, list(trained.fillings)):
            found[scene.sample.id] = look(trained, constants, scene, part.samples[0].split)
        write(part.path, found)
    return of_part


# What the notebooks read

@dataclass(frozen=True)
class Kept:
    """The findings of a network in the images of a split, by id."""
    images: Mapping[str, Findings]

    def every_row(self) -> Rows:
        """All rows of instance masks."""
        return _joined([findings.tables for findings in self.images.values()])

    def table_1(self) -> Rows:
        """All rows but those of other k, and of the module that never saw some classes."""
        names = {f"iam_s{k}" for k in TABLE_K}
        return {key: entries for key, entries in self.every_row().items()
                if key.seed is None or key.name in names}

    def by_k(self, ks: Sequence[int]) -> Rows:
        """PRM, and IAM of every seed by k."""
        every = self.every_row()
        rows = {RowKey("prm"): every[RowKey("prm")]}
        for k in ks:
            rows |= {key: entries for key, entries in every.items() if key.name == f"iam_s{k}"}
        return rows

    def unseen(self, main: FillingJob) -> Rows:
        """PRM, CAM, the main module, and the one of its seed that never saw some classes."""
        every = self.every_row()
        rows = {RowKey("prm"): every[RowKey("prm")],
                RowKey("iam"): every[RowKey(f"iam_s{main.k}", seed=main.seed)],
                RowKey("iam_unseen"): every[RowKey("iam_unseen", seed=main.seed)]}
        return rows | {key: entries for key, entries in every.items() if key.share is not None}

    def crfs(self) -> Rows:
        """The main module's masks by ConvCRF."""
        return _joined([findings.crfs for findings in self.images.values()])

    def maps(self) -> dict[str, list[Compared]]:
        """Peak response maps and activation maps where they fit best."""
        return _joined([findings.maps for findings in self.images.values()])

    def targets(self) -> list[Targets]:
        """What pseudo masks are worth, image by image."""
        return [findings.targets for findings in self.images.values()]

    def arrows(self) -> list[OpposedShares | None]:
        """Whether filling weights turn at boundaries, image by image."""
        return [findings.arrows for findings in self.images.values()]


def findings_of(tier: str, network: str, samples: Sequence[Sample]) -> Kept:
    """What the stage left of images of one split."""
    folder = BUILD / tier / "iam_rows" / network / samples[0].split
    known: dict[str, Findings] = {}
    for path in sorted(folder.glob("[!.]*.npz")):
        known |= read(path)
    for sample in samples:
        if sample.id not in known:
            raise Problem(f'{folder}: nothing was found in the image "{sample.id}" yet; '
                          "run the stage iam_rows.")
    return Kept({sample.id: known[sample.id] for sample in samples})


def _joined(images: Sequence[Mapping[Any, Any]]) -> dict[Any, list[Any]]:
    """Row -> its entries, image by image."""
    rows: dict[Any, list[Any]] = {}
    for image in images:
        for row, entry in image.items():
            rows.setdefault(row, []).append(entry)
    return rows


# Files: everything of an image under its id, predictions of all rows one after another

def write(path: Path, images: Mapping[str, Findings]) -> None:
    """Write the findings of some images, whole or not at all."""
    arrays: dict[str, np.ndarray] = {}
    for id, findings in images.items():
        for name, array in _arrays(findings).items():
            arrays[f"{id}/{name}"] = array
    with whole_file(path) as part:
        np.savez(part, **arrays)


def read(path: Path) -> dict[str, Findings]:
    """The findings of the images in a file."""
    by_image: dict[str, dict[str, np.ndarray]] = {}
    try:
        with np.load(path) as file:
            for name in file.files:
                id, _, of_image = name.rpartition("/")
                by_image.setdefault(id, {})[of_image] = file[name]
        return {id: _findings(arrays) for id, arrays in by_image.items()}
    except Exception as error:   # its bytes can fail anywhere in the unpacking
        raise Problem(f"{path}: cannot be read ({error}); "
                      "delete it and run the stage iam_rows again.") from None


def _arrays(findings: Findings) -> dict[str, np.ndarray]:
    """Of each row its name and number of masks; of each mask class, score, overlaps and its peak's value."""
    names: list[str] = []
    entries: list[Rated] = []
    for group, rows in ((TABLES, findings.tables), (CRFS, findings.crfs)):
        for key, rated in rows.items():
            names.append(json.dumps([group, *astuple(key)]))
            entries.append(rated)
    for name, compared in findings.maps.items():
        names.append(json.dumps([MAPS, name]))
        entries.append(Rated(compared, np.zeros(len(compared.scores))))
    all_compared = [rated.compared for rated in entries]
    truth = all_compared[0]
    arrows = findings.arrows
    targets = [astuple(pseudo_masks) for _, pseudo_masks in findings.targets]
    return {"rows": np.array(names),
            "masks": np.array([len(compared.scores) for compared in all_compared]),
            "classes": np.concatenate([compared.classes for compared in all_compared]),
            "scores": np.concatenate([compared.scores for compared in all_compared]),
            "iou": np.concatenate([compared.iou for compared in all_compared]),
            "values": np.concatenate([rated.values for rated in entries]),
            "truth_classes": truth.truth_classes,
            "truth_shares": truth.truth_shares,
            "target_rows": np.array([row for row, _ in findings.targets], dtype=np.str_),
            "targets": np.array(targets).reshape(-1, 2),
            "arrows": np.array([] if arrows is None else astuple(arrows))}


def _findings(arrays: Mapping[str, np.ndarray]) -> Findings:
    """What `_arrays` took apart."""
    tables: SceneRows = {}
    crfs: SceneRows = {}
    maps: dict[str, Compared] = {}
    ends = arrays["masks"].cumsum()
    for name, start, end in zip(arrays["rows"].tolist(), ends - arrays["masks"], ends, strict=True):
        own = slice(start, end)
        compared = Compared(arrays["classes"][own], arrays["scores"][own], arrays["iou"][own],
                            arrays["truth_classes"], arrays["truth_shares"])
        group, *key = json.loads(name)
        if group == MAPS:
            maps[key[0]] = compared
        else:
            rows = tables if group == TABLES else crfs
            rows[RowKey(*key)] = Rated(compared, arrays["values"][own])
    pairs = zip(arrays["target_rows"].tolist(), arrays["targets"].tolist(), strict=True)
    targets = [(row, PseudoMasks(*values)) for row, values in pairs]
    arrows = OpposedShares(*arrays["arrows"].tolist()) if len(arrays["arrows"]) else None
    return Findings(tables, crfs, targets, maps, arrows)
