"""Scores of heat maps against binary truth: OIS, ODS, ODS of the mean F, and MAE (rCAM, section 4.2)."""
from dataclasses import dataclass

import numpy as np

BETA_SQUARED = 0.3   # eq. 6
THRESHOLDS = 255     # of a map: 1/255 .. 1; a pixel is foreground at a threshold when its value reaches it
METRICS: tuple[str, ...] = ("ois", "ods", "ods_mean_f", "mae")


@dataclass(frozen=True)
class Curve:
    """One image: precision and recall at every threshold `(THRESHOLDS,)`, and the mean absolute error."""
    precision: np.ndarray
    recall: np.ndarray
    mae: float


def curve(heat: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> Curve:
    """Score a heat map in 0..1 `(H, W)` against boolean truth.

    Pixels that are not `valid` (void) do not count. Nothing predicted at a threshold: precision 0. No
    foreground in the truth: recall 0 (such images are left out by callers).
    """
    if valid is not None:
        heat = heat[valid]
        truth = truth[valid]
    # float32 of k/255 may lie just below
    level = np.floor(np.clip(heat, 0, 1) * THRESHOLDS + 1e-6).astype(np.int64).ravel()
    inside = truth.ravel()
    predicted = _reaching(level)
    hits = _reaching(level[inside])
    mae = float(np.abs(heat.ravel() - inside).mean()) if heat.size else 0.0
    return Curve(hits / np.maximum(predicted, 1), hits / max(int(inside.sum()), 1), mae)


def _reaching(level: np.ndarray) -> np.ndarray:
    """How many pixels reach each threshold; `level` is the highest threshold that each reaches, `(N,)`."""
    at_level = np.bincount(level, minlength=THRESHOLDS + 1)
    return at_level[:0:-1].cumsum()[::-1]


def f_measure(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """F = (1 + β²) P R / (β² P + R), eq. 6; 0 where both are 0."""
    numerator = (1 + BETA_SQUARED) * precision * recall
    denominator = BETA_SQUARED * precision + recall
    return np.divide(numerator, denominator, out=np.zeros_like(denominator), where=denominator > 0)


@dataclass(frozen=True)
class Curves:
    """All images of one method: precision, recall and F `(N, THRESHOLDS)`, MAE `(N,)`."""
    precision: np.ndarray
    recall: np.ndarray
    f: np.ndarray
    mae: np.ndarray

    @classmethod
    def of(cls, curves: list[Curve]) -> "Curves":
        """The images' curves, one below the other."""
        precision = np.stack([image.precision for image in curves])
        recall = np.stack([image.recall for image in curves])
        mae = np.array([image.mae for image in curves])
        return cls(precision, recall, f_measure(precision, recall), mae)

    def scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Every metric under image weights `(S, N)` that add up to one: `(S,)` each.

        Weights of `1/N` everywhere give plain means. ods pools mean precision and mean recall (as the
        saliency literature does), ods_mean_f the images' F; both at the best common threshold.
        """
        return {
            "ois": weights @ self.f.max(1),
            "ods": f_measure(weights @ self.precision, weights @ self.recall).max(1),
            "ods_mean_f": (weights @ self.f).max(1),
            "mae": weights @ self.mae,
        }
