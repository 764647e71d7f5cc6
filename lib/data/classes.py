"""The classes of data sets that are known before they are made."""
from collections.abc import Sequence

from lib.base.problem import Problem, nearest


def known_classes(dataset: str) -> tuple[str, ...]:
    """The classes of a data set by its name in params.yaml; none where only its folder tells."""
    from lib.data.collage.cutouts import CATEGORIES
    from lib.data.official.voc import VOC_CLASSES

    composed = tuple(CATEGORIES)
    known = {"collage": composed, "collage_single": composed, "voc": VOC_CLASSES, "voc2012": VOC_CLASSES,
             "pascal_s": ("object",)}
    return known.get(dataset, ())


def check_classes(where: str, names: Sequence[str], dataset: str) -> None:
    """Refuse a class that a data set has not; `where` is the place in params.yaml."""
    known = known_classes(dataset)
    for name in names:
        if known and name not in known:
            raise Problem(f'{where}: {dataset} has no class "{name}"{nearest(name, known)}')
