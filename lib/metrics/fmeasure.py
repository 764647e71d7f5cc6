"""Scores of heat maps against binary truth: OIS, ODS, ODS of the mean F, and MAE (rCAM, section 4.2)."""
from dataclasses import dataclass

import numpy as np

BETA_SQUARED = 0.3   # eq. 6
LEVELS = 255         # thresholds 1/255 .. 1; a pixel is foreground at a threshold when its value reaches it
METRICS = ("ois", "ods", "ods_mean_f", "mae")


@dataclass(frozen=True)
class Curve:
    """One image: precision and recall at every threshold `(LEVELS,)`, and the mean absolute error."""
    precision: np.ndarray
    recall: np.ndarray
    mae: float


def curve(heat: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> Curve:
    """Score a heat map in 0..1 `(H, W)` against boolean truth; pixels that are not `valid` (void) do not count.

    Nothing predicted at a threshold: precision 0. No foreground in the truth: recall 0 (such images are left out by callers).
    """
    if valid is not None:
        heat, truth = heat[valid], truth[valid]
    level = np.floor(np.clip(heat, 0, 1) * LEVELS + 1e-6).astype(np.int64).ravel()   # float32 of k/255 may lie just below
    inside = truth.ravel()
    predicted = np.bincount(level, minlength=LEVELS + 1)[:0:-1].cumsum()[::-1]
    hits = np.bincount(level[inside], minlength=LEVELS + 1)[:0:-1].cumsum()[::-1]
    mae = float(np.abs(heat.ravel() - inside).mean()) if heat.size else 0.0
    return Curve(hits / np.maximum(predicted, 1), hits / max(int(inside.sum()), 1), mae)


def f_measure(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """eq. 6; 0 where both are 0."""
    denominator = BETA_SQUARED * precision + recall
    return np.divide((1 + BETA_SQUARED) * precision * recall, denominator, out=np.zeros_like(denominator), where=denominator > 0)


@dataclass(frozen=True)
class Curves:
    """All images of one method: precision, recall and F `(N, LEVELS)`, MAE `(N,)`."""
    precision: np.ndarray
    recall: np.ndarray
    f: np.ndarray
    mae: np.ndarray

    @classmethod
    def of(cls, curves: list[Curve]) -> "Curves":
        precision, recall = (np.stack([getattr(c, k) for c in curves]) for k in ("precision", "recall"))
        return cls(precision, recall, f_measure(precision, recall), np.array([c.mae for c in curves]))

    def scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Every metric under image weights `(S, N)` that add up to one: `(S,)` each. Plain means: `1/N` everywhere.

        ods pools mean precision and mean recall (as the saliency literature does), ods_mean_f the images' F; both at the
        best common threshold.
        """
        return {"ois": weights @ self.f.max(1),
                "ods": f_measure(weights @ self.precision, weights @ self.recall).max(1),
                "ods_mean_f": (weights @ self.f).max(1),
                "mae": weights @ self.mae}

    def best_threshold(self) -> float:
        """The common threshold behind `ods`."""
        return (1 + int(f_measure(self.precision.mean(0), self.recall.mean(0)).argmax())) / LEVELS
