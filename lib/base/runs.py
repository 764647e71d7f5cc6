"""What a notebook runs on in one tier. What a tier names once is not repeated in its blocks: `of_tier` fields take it from there."""
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_origin, get_type_hints

from lib.base.problem import Problem
from lib.base.strict import bounded

FROM_TIER = "from_tier"   # of a field's metadata: the tier's key that stands in where a block leaves the field out


def of_tier(key: str) -> Any:
    """A dataclass field that the tier's own `key` (dataset, networks or single) fills in where params.yaml leaves it out."""
    return dataclasses.field(metadata={FROM_TIER: key})


@dataclass(frozen=True)
class TableRun:
    """A notebook on one data set and several networks."""
    dataset: str = of_tier("dataset")
    networks: list[str] = of_tier("networks")


@dataclass(frozen=True)
class SingleRun:
    """A notebook on one data set and one network: how many images (null: all), and how many in a batch."""
    dataset: str = of_tier("dataset")
    network: str = of_tier("networks")
    images: int | None = bounded(1, None)
    batch: int = bounded(1, 1024)


@dataclass(frozen=True)
class ConstantsRun(TableRun):
    """A notebook that chooses constants: how many validation images (null: all), and how many in a batch."""
    images: int | None = bounded(1, None)
    batch: int = bounded(1, 1024)


@dataclass(frozen=True)
class ProposalRun:
    """Data set -> split -> images with proposals, spread evenly over the split (null: all)."""
    images: dict[str, dict[str, int | None]]

    @property
    def datasets(self) -> list[str]:
        return list(self.images)


def filled_in(kind: Any, block: Any, tier: Mapping[str, Any]) -> Any:
    """A block of params.yaml with what it leaves out to its tier; anything but a mapping is left for the checks to name."""
    if not isinstance(block, dict):
        return block
    hints = get_type_hints(kind)
    given = dict(block)
    for field in dataclasses.fields(kind):
        key = field.metadata.get(FROM_TIER)
        if key in tier and field.name not in given:
            given[field.name] = _as(hints[field.name], tier[key])
    return given


def add_usual(block: dict[str, Any], place: str, usual: Any, name: str) -> None:
    """Put what a training leaves out to the usual one in its place, such as `dcsm_train.networks.*`; * is any key.

    `name` is the usual training's own key in params.yaml. Whatever is no mapping is left for the checks to name.
    """
    if not isinstance(usual, dict):
        raise Problem(f"{name}: must be a mapping, the values that trainings take where a tier says nothing else.")
    key, _, rest = place.partition(".")
    for found in list(block) if key == "*" else [key]:
        inner = block.get(found)
        if not isinstance(inner, dict):
            continue
        if rest:
            add_usual(inner, rest, usual, name)
        else:
            block[found] = {**usual, **inner}


def _as(hint: Any, value: Any) -> Any:
    """The tier's one data set as a list of data sets, its networks as the first of them, where a field wants that."""
    if get_origin(hint) is list and not isinstance(value, list):
        return [value]
    if hint is str and isinstance(value, list) and value:
        return value[0]
    return value
