"""The rows of DCSM's tables: ways of turning the same raw maps into a segmentation."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lib.nets.fcn import IMAGE
from lib.papers.dcsm.maps import GUIDED, PLAIN, SIMONYAN, WIDE
from lib.papers.dcsm.method import middle
from lib.papers.dcsm.settings import DcsmSettings


@dataclass(frozen=True)
class Row:
    """One way: which raw maps, how they are put together, with the CRF or without, and for which classes.

    `targets` None: those that were kept when the raw maps were computed; a number: those whose score
    exceeds it; "truth": those that the image is labelled with. Of the last two only candidates, which have
    raw maps, can be meant.
    """
    settings: DcsmSettings
    kind: str = GUIDED
    crf: bool = True
    targets: float | Literal["truth"] | None = None


Rows = Mapping[str, Row]
Pairs = list[tuple[str, str]]   # rows that are compared, image by image


def main_rows(settings: DcsmSettings) -> dict[str, Row]:
    """Tables 1 and 6: without and with the CRF, with the paper's constants of it, and Simonyan's maps."""
    return {
        "dcsm_no_crf": Row(settings, crf=False),
        "dcsm_crf": Row(settings),
        "dcsm_paper_crf": Row(replace(settings, crf=settings.crf_paper)),
        "simonyan_crf": simonyan(settings, settings.alpha_simonyan),
    }


def limit_rows(settings: DcsmSettings) -> dict[str, Row]:
    """A perfect classifier: the classes of the image's labels in place of those that the network finds."""
    return {"dcsm_true_labels": Row(settings, targets="truth")}


def simonyan(settings: DcsmSettings, alpha: float) -> Row:
    """Simonyan et al.: plain derivatives at the image, one scale, no subtraction.

    Of red, green and blue the strongest counts.
    """
    changed = replace(settings, scales=(middle(settings.scales),), blocks=(IMAGE,), candidates=0, alpha=alpha,
                      reading="paper", normaliser="own")
    return Row(changed, SIMONYAN)


def alpha_rows(settings: DcsmSettings, alphas: Sequence[float]) -> dict[str, Row]:
    """Table 1's sweep of alpha, for the method and for Simonyan's maps."""
    rows = {}
    for alpha in alphas:
        rows[alpha_row("dcsm", alpha)] = Row(replace(settings, reading="paper", alpha=alpha))
    for alpha in alphas:
        rows[alpha_row("simonyan", alpha)] = simonyan(settings, alpha)
    return rows


def alpha_row(method: Literal["dcsm", "simonyan"], alpha: float) -> str:
    """The name of a method's row in the sweep of alpha."""
    return f"{method}_{alpha:g}"


def alpha_pairs(alphas: Sequence[float]) -> Pairs:
    """The paper's best alpha, 3, against every other."""
    return [(alpha_row("dcsm", 3), alpha_row("dcsm", alpha)) for alpha in alphas if alpha != 3]


def layer_rows(settings: DcsmSettings, combinations: Sequence[str]) -> dict[str, Row]:
    """Table 2: `block345` means the mean of blocks 3, 4 and 5."""
    rows = {}
    for name in combinations:
        blocks = tuple(f"block{digit}" for digit in name.removeprefix("block"))
        rows[name] = Row(replace(settings, blocks=blocks))
    return rows


def layer_pairs() -> Pairs:
    """Block 4, block 1, and blocks 3 to 5 together, against the single blocks."""
    best = [("block4", f"block{number}") for number in (1, 2, 3, 5)]
    worst = [("block1", f"block{number}") for number in (2, 3, 5)]
    together = [("block345", f"block{number}") for number in range(1, 6)]
    return best + worst + together


def scale_rows(settings: DcsmSettings, combinations: Sequence[Sequence[int]]) -> dict[str, Row]:
    """Table 3: rows s300, s400_500, ..."""
    rows = {}
    for scales in combinations:
        rows["s" + "_".join(map(str, scales))] = Row(replace(settings, scales=tuple(scales)))
    return rows


def scale_pairs(rows: Rows) -> Pairs:
    """The paper's combination against every other row."""
    return [("s400_500_600", row) for row in rows if row != "s400_500_600"]


def top_n_rows(settings: DcsmSettings, numbers: Sequence[int], classes: int) -> dict[str, Row]:
    """Table 4: at least N candidates; at most as many as the network has classes."""
    return {str(n): Row(replace(settings, candidates=n), WIDE) for n in numbers if n <= classes}


def top_n_pairs(rows: Rows) -> Pairs:
    """No subtraction, and the paper's best N, 4, against every other row."""
    without = [("0", row) for row in rows if row != "0"]
    best = [("4", row) for row in rows if row not in ("0", "4")]
    return without + best


def backprop_rows(settings: DcsmSettings) -> dict[str, Row]:
    """Table 5: plain and guided backpropagation."""
    return {"bp": Row(settings, PLAIN), "guided_bp": Row(settings)}
