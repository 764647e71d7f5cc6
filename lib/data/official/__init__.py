"""Datasets as their authors distribute them, converted to dataset folders; each importer's module says how."""
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lib.base.problem import Problem, nearest
from lib.data.official import cub, ilsvrc, pascal_s, saliency, voc
from lib.data.official.common import Layout

OFFICIAL: dict[str, Callable[..., None]] = {
    "voc2012": voc.import_voc, "cub": cub.import_cub, "ilsvrc": ilsvrc.import_ilsvrc, "pascal_s": pascal_s.import_pascal_s,
    **{name: partial(saliency.import_saliency, name=name) for name in saliency.TITLES}}
LAYOUTS: dict[str, Layout] = {
    "voc2012": voc.LAYOUT, "cub": cub.LAYOUT, "ilsvrc": ilsvrc.LAYOUT, "pascal_s": pascal_s.LAYOUT, **saliency.LAYOUTS}
WHERE: dict[str, str] = {name: layout.where for name, layout in LAYOUTS.items()}   # which folder is expected, and who gives it out


def find_official(name: str, source: Path) -> Path:
    """The top of a distributed dataset inside `source`; an unknown name or a missing folder is one sentence. Costs nothing."""
    if name not in OFFICIAL:
        raise Problem(f'"{name}" is not an official dataset{nearest(name, OFFICIAL)}')
    return LAYOUTS[name].find(Path(source))


def import_official(name: str, source: Path, folder: Path, **options: object) -> None:
    """Convert the dataset `name` from `source`, where it was unpacked, to the dataset folder `folder`."""
    find_official(name, source)
    OFFICIAL[name](Path(source), Path(folder), **options)
