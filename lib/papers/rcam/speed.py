"""How long rCAM takes and how much memory: one image, in a process of its own. `python -m lib.papers.rcam.speed NETWORK PHOTO`."""
import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

from lib.base.process import answer_of, peak_mb

REPEATS = 5


def measure(network: str, photo: Path) -> dict[str, float]:
    """Medians in milliseconds of all seven rows, and of the components of S₂ by subspace iteration and by a full SVD; peak memory in MB."""
    return answer_of("lib.papers.rcam.speed", [network, str(photo)], f"the speed of {network} could not be measured")


def _measure_here(name: str, path: Path) -> dict[str, float]:
    import torch

    from lib.data.images import read_rgb
    from lib.papers.rcam.method import rcam, to_batch
    from lib.papers.rcam.tables import open_network
    from lib.params import load_params
    from lib.refine.shape import principal_components

    settings = load_params().rcam
    network, photo = open_network(name, settings), read_rgb(path)
    rows = _median(lambda: rcam(network, [photo], settings))
    memory = peak_mb()
    with torch.inference_mode():
        names = network.responses[settings.guide_stride]
        seen = network.activations(to_batch([photo], settings.sizes[-1]), names)
        responses = [seen[n] for n in names]
        flat = torch.cat([r.flatten(2) for r in responses], 1)[0]
        fast = _median(lambda: principal_components(responses))
        full = _median(lambda: torch.linalg.svd(flat, full_matrices=False), repeats=1)
    return {"all rows": rows, "peak_mb": round(memory), "components": fast, "components by full SVD": full}


def _median(action: Callable[[], object], repeats: int = REPEATS) -> float:
    """Of so many calls after one that warms up."""
    times = []
    for _ in range(1 + repeats):
        start = perf_counter()
        action()
        times.append(1000 * (perf_counter() - start))
    return round(median(times[1:]), 1)


if __name__ == "__main__":
    print(json.dumps(_measure_here(sys.argv[1], Path(sys.argv[2]))))
