"""How long rCAM takes and how much memory: one image, in a process of its own.

`python -m lib.papers.rcam.speed NETWORK PHOTO SETTINGS`; the settings are block rcam of params.yaml as JSON.
"""
import json
import sys
from dataclasses import asdict
from pathlib import Path

from lib.base.process import answer_of, medians, peak_mb
from lib.base.strict import build
from lib.papers.rcam.settings import RcamSettings


def measure(network: str, photo: Path, settings: RcamSettings) -> dict[str, float]:
    """Medians in milliseconds of all seven rows, and of S₂'s components by subspace iteration and full SVD.

    `peak_mb` is the most memory that the rows took.
    """
    words = [network, str(photo), json.dumps(asdict(settings))]
    return answer_of("lib.papers.rcam.speed", words, f"the speed of {network} could not be measured")


def _measure_here(name: str, path: Path, settings: RcamSettings) -> dict[str, float]:
    import torch

    from lib.data.images import read_rgb
    from lib.papers.rcam.method import rcam, to_batch
    from lib.papers.rcam.tables import open_network
    from lib.refine.shape import principal_components

    network, photo = open_network(name, settings), read_rgb(path)
    device = next(network.parameters()).device
    whole = medians({"all rows": lambda: rcam(network, [photo], settings)})
    memory = round(peak_mb())
    with torch.inference_mode():
        layers = network.responses[settings.guide_stride]
        outputs = network.activations(to_batch([photo], settings.sizes[-1]).to(device), layers)
        responses = [outputs[layer] for layer in layers]
        flat = torch.cat([maps.flatten(2) for maps in responses], 1)[0]

        def few() -> None:
            principal_components(responses).cpu()   # a GPU is done when its answer is here

        def every() -> None:
            torch.linalg.svd(flat, full_matrices=False).S.cpu()

        # it takes seconds: once, after a round that warms up
        parts = medians({"components": few}) | medians({"components by full SVD": every}, rounds=1)
    return {**whole, "peak_mb": memory, **parts}


if __name__ == "__main__":
    given = build(RcamSettings, json.loads(sys.argv[3]), "rcam")
    print(json.dumps(_measure_here(sys.argv[1], Path(sys.argv[2]), given)))
