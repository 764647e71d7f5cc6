"""Curves with intervals: sweeps of a setting, and how a training went."""
import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lib.report.figures import COLOURS
from lib.report.numbers import known

# No two lines of a figure alike.
LINES: tuple[str, ...] = (*COLOURS, "#c23b3b", "#7a7a7a", "#b59f2b", "#2ba7b8")
TICKS = 12   # as many values of a setting are all named below the axis
Series = Mapping[str, Mapping[float, Mapping[str, float]]]   # name -> x -> {"mean", "low", "high"}
Quoted = Mapping[str, Mapping[float, float | None]]          # name -> x -> the paper's value


@dataclass(frozen=True)
class Diamond:
    """A value of the paper in a figure, and the colour of the line it belongs to."""
    x: float
    y: float
    edge: str


def curve(series: Series, xlabel: str, ylabel: str, paper: Quoted | None = None) -> Figure:
    """Lines with shaded intervals; the paper's values as black diamonds, edged in their line's colour."""
    figure = Figure(figsize=(5.5, 3), layout="constrained")
    axis = figure.subplots()
    colours = {name: LINES[place % len(LINES)] for place, name in enumerate(series)}
    for name, values in series.items():
        _line(axis, name, values, colours[name])
    quoted = _quoted(paper or {}, colours)
    if quoted:
        axis.scatter([point.x for point in quoted], [point.y for point in quoted], marker="D", s=30,
                     color="black", linewidths=1.3, edgecolors=[point.edge for point in quoted], zorder=3,
                     label="paper")
    places = {point.x for point in quoted}.union(*series.values())
    if len(places) <= TICKS:
        axis.set_xticks(sorted(places), [f"{x:g}" for x in sorted(places)])
    _finish(axis, xlabel, ylabel)
    axis.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def training_curves(source: Path | str | Sequence[Mapping[str, Any]]) -> Figure:
    """Loss over the steps, and mAP on `val` on an axis of its own.

    The source is a CSV file, or its rows: phase, epoch, step, loss, val_map; loss or val_map may be empty.
    Where the steps start anew, the curve goes on where it was.
    """
    rows = _read(source)
    steps = _running(rows)
    loss, score = _points(steps, rows, "loss"), _points(steps, rows, "val_map")
    figure = Figure(figsize=(5.5, 3), layout="constrained")
    axis = figure.subplots()
    lines = axis.plot(*loss, lw=1.2, color=COLOURS[0], label="loss")
    _finish(axis, "step", "loss")
    axis.set_ylim(bottom=0)
    if score[0]:
        other = axis.twinx()
        lines += other.plot(*score, marker="o", ms=3.5, lw=1.5, color=COLOURS[1], label="mAP on val")
        _finish(other, "step", "mAP on val")
        other.spines["right"].set_visible(True)
    for step, phase in _phases(steps, rows):
        axis.axvline(step, lw=0.8, ls=":", color="grey")
        axis.text(step, 1, f" {phase}", transform=axis.get_xaxis_transform(), va="bottom", fontsize=7,
                  color="dimgrey")
    figure.legend(handles=lines, fontsize=8, frameon=False, loc="outside lower center", ncols=2)
    return figure


def _line(axis: Any, name: str, values: Mapping[float, Mapping[str, float]], colour: str) -> None:
    points = [(x, values[x]) for x in sorted(values) if known(values[x])]
    xs = [x for x, _ in points]
    means = [value["mean"] for _, value in points]
    lows, highs = [value["low"] for _, value in points], [value["high"] for _, value in points]
    axis.fill_between(xs, lows, highs, color=colour, alpha=0.18, lw=0)
    axis.plot(xs, means, marker="o", ms=3.5, lw=1.5, color=colour, label=name)


def _quoted(paper: Quoted, colours: Mapping[str, str]) -> list[Diamond]:
    diamonds = []
    for name, values in paper.items():
        for x, y in values.items():
            if y is not None:
                diamonds.append(Diamond(x, y, colours.get(name, "black")))
    return diamonds


def _finish(axis: Any, xlabel: str, ylabel: str) -> None:
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    axis.tick_params(axis="x", labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def _read(source: Path | str | Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    if not isinstance(source, (Path, str)):
        return list(source)
    with open(source, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _running(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """The step of each row, counted from the first row on."""
    steps: list[float] = []
    before, last = 0.0, 0.0
    for place, row in enumerate(rows):
        step = float(row["step"])
        is_new_phase = place > 0 and row["phase"] != rows[place - 1]["phase"]
        if step < last or (is_new_phase and step == last):
            before += last
        last = step
        steps.append(before + step)
    return steps


def _points(steps: Sequence[float], rows: Sequence[Mapping[str, Any]],
            key: str) -> tuple[list[float], list[float]]:
    """Steps and values of the rows that have a finite one."""
    at, values = [], []
    for step, row in zip(steps, rows, strict=True):
        text = row.get(key)
        if text not in (None, "") and math.isfinite(float(text)):
            at.append(step)
            values.append(float(text))
    return at, values


def _phases(steps: Sequence[float], rows: Sequence[Mapping[str, Any]]) -> list[tuple[float, str]]:
    """Where each phase starts; nothing where there is only one."""
    starts = []
    for place, row in enumerate(rows):
        if place == 0:
            starts.append((steps[0], str(row["phase"])))
        elif row["phase"] != rows[place - 1]["phase"]:
            starts.append((steps[place - 1], str(row["phase"])))
    return starts if len(starts) > 1 else []
