"""Data sets as their authors distribute them, made dataset folders; each importer's module says how."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lib.base.files import check_apart, check_place
from lib.base.problem import Problem, nearest
from lib.data.official import cub, ilsvrc, pascal_s, saliency, voc
from lib.data.official.common import Layout
from lib.data.writer import check_is_ours


@dataclass(frozen=True)
class Official:
    """One data set: the folder that is expected, how it is found and converted, and its importer's options.

    layout   which folder is expected, and who gives it out
    find     (source, **options) -> top of the data set, once what the options ask for is there, too
    convert  (source, folder, **options) -> nothing; writes the dataset folder
    options  type of each option by its name in params.yaml; a str names a folder
    """
    layout: Layout
    find: Callable[..., Path]
    convert: Callable[..., None]
    options: Mapping[str, type] = field(default_factory=dict)


def _without_options(layout: Layout, convert: Callable[..., None]) -> Official:
    return Official(layout, layout.find, convert)


OFFICIAL: dict[str, Official] = {
    "voc2012": Official(voc.LAYOUT, voc.find_voc, voc.import_voc, {"sbd": str}),
    "cub": _without_options(cub.LAYOUT, cub.import_cub),
    "ilsvrc": Official(ilsvrc.LAYOUT, ilsvrc.find_ilsvrc, ilsvrc.import_ilsvrc, {"train": bool}),
    "pascal_s": _without_options(pascal_s.LAYOUT, pascal_s.import_pascal_s),
}
for _name, _layout in saliency.LAYOUTS.items():
    OFFICIAL[_name] = _without_options(_layout, partial(saliency.import_saliency, name=_name))


def options_of(name: str) -> dict[str, type]:
    """Options of a data set in params.yaml, by name with their type: `source`, and its importer's own."""
    return {"source": str, **OFFICIAL[name].options}


def find_official(name: str, source: Path, **options: object) -> Path:
    """Find the top of a distributed data set inside `source`, without reading it.

    An unknown name, or a folder that lacks what the importer and its options need, is one sentence.
    """
    if name not in OFFICIAL:
        raise Problem(f'"{name}" is not an official dataset{nearest(name, OFFICIAL)}')
    return OFFICIAL[name].find(Path(source), **options)


def import_official(name: str, source: Path, folder: Path, **options: object) -> None:
    """Convert the data set `name` from `source`, where it was unpacked, to the dataset folder `folder`.

    `options` are the importer's own, see `options_of`; folders among them as paths.
    """
    find_official(name, source, **options)
    for place in (source, *options.values()):
        if isinstance(place, str | Path):
            check_apart(Path(place), Path(folder))
    check_place(Path(folder), check_is_ours)
    OFFICIAL[name].convert(Path(source), Path(folder), **options)
