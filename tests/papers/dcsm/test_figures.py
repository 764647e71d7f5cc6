"""DCSM's figures: a row for every image, and the paper's numbers beside ours."""
import numpy as np
from dcsm_toys import OURS
from matplotlib.figure import Figure

from lib.papers.dcsm import figures
from lib.papers.dcsm.tables import Split
from lib.report.figures import palette


def interval(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 1, "high": mean + 1}


def diamonds(figure: Figure) -> list[list[float]]:
    """Where the paper's numbers stand: the scatter named `paper`."""
    axis = figure.axes[0]
    points = [one for one in axis.collections if one.get_label() == "paper"]
    return [] if not points else points[0].get_offsets().tolist()


def test_figures_have_a_row_for_every_image(own_split: Split) -> None:
    assert len(figures.method_grid(own_split.items, own_split, OURS).axes) == 3 * 7
    assert len(figures.layer_grid(own_split.items, own_split, OURS).axes) == 3 * 4
    assert len(figures.subtraction_grid(own_split.items, own_split, OURS).axes) == 3 * 6


def test_images_of_several_classes_are_chosen(own_split: Split) -> None:
    kept = {path: int(np.load(path)["kept"]) for _, path in own_split.items}
    for classes in (1, 2, 3):
        chosen = figures.several(own_split.items, classes)
        assert [path for _, path in chosen] == [path for path, number in kept.items() if number >= classes]


def test_voc_colours() -> None:
    expected = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128]]
    assert palette()[[0, 1, 2, 15, 20]].tolist() == expected


def test_bars_stand_beside_the_papers_numbers() -> None:
    rows = {"bp": {"miou": interval(30.0)}, "guided_bp": {"miou": interval(33.0)}}
    figure = figures.bars_beside_paper({"net": rows}, "table5_backprop", "voc")
    paper = [figures.PAPER.value("table5_backprop", "voc", row, "miou") for row in rows]
    assert figure.axes[0].get_ylabel() == "mIoU (%)" and None not in paper
    assert diamonds(figure) == [[0.0, paper[0]], [1.0, paper[1]]]
    assert diamonds(figures.bars_beside_paper({"net": rows}, "table5_backprop", "collage")) == []


def test_curves_over_alpha_have_the_papers_best() -> None:
    rows = {f"{method}_{alpha:g}": {"miou": interval(10.0 * alpha)}
            for method in ("dcsm", "simonyan") for alpha in (1, 2.5)}
    figure = figures.alpha_curve({"net": rows}, [1, 2.5])
    lines = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].get_lines()}
    expected = [[1.0, 10.0], [2.5, 25.0]]
    assert lines == {"DCSM, net": expected, "Simonyan, net": expected}
    best = figures.PAPER.value("table1_alpha", "voc", "dcsm_3", "miou")
    assert [3.0, best] in diamonds(figure)


def test_curves_over_n_have_the_papers_numbers() -> None:
    rows = {"0": {"miou": interval(20.0)}, "4": {"miou": interval(24.0)}}
    figure = figures.top_n_curve({"net": rows}, [0, 4, 5])
    paper = [[float(n), figures.PAPER.value("table4_top_n", "voc", str(n), "miou")] for n in (0, 4, 5)]
    assert figure.axes[0].get_lines()[0].get_xydata().tolist() == [[0.0, 20.0], [4.0, 24.0]]
    assert diamonds(figure) == paper
