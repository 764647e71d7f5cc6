"""The benchmark as a figure: times as fast as each peer, time against batch, memory against photographs."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.base.files import whole_file
from lib.base.race import OURS
from lib.bench.page import TITLES, Results, machines
from lib.report.figures import COLOURS

DOTS_AN_INCH = 110


def write_plot(results: Results, path: Path) -> None:
    """PNG, with the machine below."""
    figure = Figure(figsize=(9, 9), layout="constrained")
    ratios, curves, memory = figure.subplots(3, 1, height_ratios=[2.4, 1.3, 1])
    _draw_ratios(ratios, results)
    _draw_methods(curves, results.get("methods", {}).get("entries", ()))
    _draw_memory(memory, results.get("memory", {}).get("entries", ()))
    for axes in (ratios, curves, memory):
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("; ".join(machines(results)), fontsize=7)
    with whole_file(path) as part:
        figure.savefig(part, dpi=DOTS_AN_INCH)


def _draw_ratios(axes: Axes, results: Results) -> None:
    """One bar a peer, with quartiles; a tick where something was asked for."""
    labels = []
    for row, found in results.items():
        for entry in found["entries"]:
            for peer, compared in entry["against"].items():
                place = len(labels)
                labels.append(f"{TITLES[row]}, {entry['setting']}: {peer}")
                _draw_ratio(axes, place, compared)
    axes.axvline(1, color="black", lw=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(labels)), labels, fontsize=6)
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as the peer (diamond: asked for)", fontsize=8)


def _draw_ratio(axes: Axes, place: int, compared: Mapping[str, Any]) -> None:
    median = compared["median"]
    around = [[median - compared["low"]], [compared["high"] - median]]
    axes.barh(place, median, xerr=around, color=COLOURS[0], error_kw={"lw": 1})
    if "least" in compared:
        axes.scatter(compared["least"], place, marker="D", s=18, color=COLOURS[1], zorder=3)


def _draw_methods(axes: Axes, entries: Sequence[Mapping[str, Any]]) -> None:
    """Milliseconds an image against the batch."""
    usual = [entry for entry in entries if entry["side"] == entries[0]["side"]]
    for number, name in enumerate(dict.fromkeys(entry["method"] for entry in usual)):
        own = {entry["batch"]: entry["ms"][OURS]["median"] for entry in usual if entry["method"] == name}
        batches = sorted(own)
        times = [own[batch] for batch in batches]
        axes.plot(batches, times, marker="o", label=name, color=f"C{number}")
    if usual:
        axes.legend(fontsize=7, frameon=False)
    axes.set_yscale("log")
    axes.set_xlabel("images at a time", fontsize=8)
    axes.set_ylabel("ms an image", fontsize=8)


def _draw_memory(axes: Axes, entries: Sequence[Mapping[str, Any]]) -> None:
    """Megabytes against photographs done."""
    for entry in entries:
        done = [moment[0] for moment in entry["curve"]]
        axes.plot(done, [moment[2] for moment in entry["curve"]], color=COLOURS[2], label=entry["setting"])
        axes.legend(fontsize=7, frameon=False)
    axes.set_xlabel("photographs done", fontsize=8)
    axes.set_ylabel("MB held", fontsize=8)
