"""Blocks of params.yaml that say what a notebook or a stage runs on in one tier.

A tier names its data set and its networks once; fields made by `of_tier` take them from there.
"""
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_origin, get_type_hints

from lib.base.problem import Problem
from lib.base.strict import bounded

FROM_TIER = "from_tier"   # in a field's metadata: the tier's key that stands in where a block has no value


def of_tier(key: str) -> Any:
    """A dataclass field that params.yaml may leave out: the tier's own `key` fills it in.

    `key` is dataset, networks or single.
    """
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
    images: dict[str, dict[str, int | None]] = bounded(1, None)

    @property
    def datasets(self) -> list[str]:
        return list(self.images)


def follows(tier: str, stage: str, run: Any, source: str, before: Any, what: str) -> None:
    """Refuse a stage on another data set, or with other networks, than the stage that it starts from."""
    where = f"tier.{tier}.{stage}"
    if run.dataset != before.dataset:
        raise Problem(f'{where}.dataset: must be "{before.dataset}", the data set of tier.{tier}.{source}, '
                      f'not "{run.dataset}".')
    for network in run.networks:
        if network not in before.networks:
            raise Problem(f'{where}: "{network}" is not {what} in this tier; '
                          f"add it to tier.{tier}.{source}.networks.")


def filled_in(kind: Any, block: Any, tier: Mapping[str, Any]) -> Any:
    """Complete a block of params.yaml with what it leaves out to its tier.

    Anything but a mapping is left for the checks to name.
    """
    if not isinstance(block, dict):
        return block
    hints = get_type_hints(kind)
    given = dict(block)
    for field in dataclasses.fields(kind):
        key = field.metadata.get(FROM_TIER)
        if key in tier and field.name not in given:
            given[field.name] = _fitted(hints[field.name], tier[key])
    return given


def add_usual(block: dict[str, Any], place: str, usual: Any, name: str) -> None:
    """Complete the trainings at a place of a tier, such as `dcsm_train.networks.*`, with the usual values.

    In `place`, * is any key. `name` is the usual training's own key in params.yaml. Whatever is no mapping
    is left for the checks to name.
    """
    if not isinstance(usual, dict):
        raise Problem(f"{name}: must be a mapping, "
                      "the values that trainings take where a tier says nothing else.")
    first, _, rest = place.partition(".")
    keys = list(block) if first == "*" else [first]
    for key in keys:
        inner = block.get(key)
        if not isinstance(inner, dict):
            continue
        if rest:
            add_usual(inner, rest, usual, name)
        else:
            block[key] = {**usual, **inner}


def _fitted(hint: Any, value: Any) -> Any:
    """Fit what a tier names to a field's type: one data set to a list, several networks to the first."""
    if get_origin(hint) is list and not isinstance(value, list):
        return [value]
    if hint is str and isinstance(value, list) and value:
        return value[0]
    return value
