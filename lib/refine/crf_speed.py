"""How long the exact dense CRF takes beside pydensecrf's lattice, and what skipping and the lattice change.

`python -m lib.refine.crf_speed [SIZE...]` prints JSON: milliseconds an image of photographs that scikit-image
brings along, on one core, and differences in marginals. A size reads HEIGHTxWIDTHxCLASSES, as in 224x224x2.
"""
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lib.base.problem import Problem
from lib.base.process import medians
from lib.refine.crf import dense_crf
from lib.refine.settings import CrfSettings

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea")
SIZES = ("16x16x2", "32x32x2", "64x96x2", "112x112x2", "224x224x2", "375x500x2", "224x224x21")
SETTINGS = CrfSettings(theta_alpha=160, theta_beta=3, theta_gamma=3, bilateral=2, spatial=1, iterations=10)
ROUNDS = 3
MOST_PAIRS = 4e9   # between which nothing is skipped for comparison: more take minutes


@dataclass(frozen=True)
class Scene:
    """A photograph `(H, W, 3)` and probabilities of its classes `(C, H, W)` that are made up."""
    image: np.ndarray
    probability: np.ndarray


def rows(sizes: Sequence[str] = SIZES, rounds: int = ROUNDS) -> dict[str, dict[str, float]]:
    """{size: {what: value}}: milliseconds of both, and the largest differences in a marginal."""
    return {size: _row(size, rounds) for size in sizes}


def _row(size: str, rounds: int) -> dict[str, float]:
    """Medians over rounds in which both take turns, of all photographs together."""
    scenes = _scenes(size)
    answers: dict[str, list[np.ndarray]] = {}
    actions: dict[str, Callable[[], object]] = {}
    for backend in ("pydensecrf", "exact"):
        actions[backend] = lambda backend=backend: answers.update({backend: _all(scenes, backend)})
    times = medians(actions, rounds)
    row = {f"{name} (ms)": round(time / len(scenes), 1) for name, time in times.items()}
    row["lattice, largest difference"] = _largest(answers["pydensecrf"], answers["exact"])
    if scenes[0].probability[0].size ** 2 <= MOST_PAIRS:
        row["skipping, largest difference"] = _largest(_without_skipping(scenes), answers["exact"])
    return row


def _all(scenes: Sequence[Scene], backend: str) -> list[np.ndarray]:
    return [dense_crf(scene.image, scene.probability, SETTINGS, backend) for scene in scenes]


def _without_skipping(scenes: Sequence[Scene]) -> list[np.ndarray]:
    import torch

    from lib.refine.exact_crf import Exact, exact_crf

    found = []
    for scene in scenes:
        image, unary = torch.from_numpy(scene.image), -torch.from_numpy(scene.probability).log()
        found.append(exact_crf(image[None], unary[None], SETTINGS, Exact(tolerance=0))[0].numpy())
    return found


def _largest(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> float:
    pairs = zip(some, others, strict=True)
    return round(max(float(np.abs(one - other).max()) for one, other in pairs), 8)


def _scenes(size: str) -> list[Scene]:
    """The photographs at a size, with smooth probabilities, the same in every run."""
    from skimage import data

    try:
        height, width, classes = map(int, size.split("x"))
    except ValueError:
        raise Problem(f'"{size}" is no size; write HEIGHTxWIDTHxCLASSES, such as {SIZES[0]}.') from None
    random = np.random.default_rng(0)
    scenes = []
    for name in PHOTOGRAPHS:
        photo = Image.fromarray(getattr(data, name)()).resize((width, height), Image.Resampling.BILINEAR)
        coarse = random.normal(0, 1.5, (classes, 6, 6)).astype(np.float32)
        powers = np.exp(np.stack([_enlarged(plane, width, height) for plane in coarse]))
        scenes.append(Scene(np.array(photo), powers / powers.sum(0)))
    return scenes


def _enlarged(plane: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    print(json.dumps(rows(sys.argv[1:] or SIZES), indent=2))
