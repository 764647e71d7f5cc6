"""rCAM on one's own photographs and data sets: `segment` and `evaluate` of the command line."""
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.base.batch import batch_size
from lib.papers.found import Evaluated, Found, Request, Segmenter

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from lib.data.dataset import Dataset, Sample
    from lib.nets.network import Network

STEPS: tuple[str, ...] = ("g_weak", "cam1", "cam2", "rcam1", "rcam2", "rcam3", "rcam")
SEGMENTS = (*STEPS, "rcam_box")
EVALUATES = ("rcam", "rcam_box")


def segmenter(request: Request, params: Any) -> Segmenter:
    """Photographs -> heat maps, by rCAM, one of its steps, or rCAM in boxes."""
    heats_of = _heats_of(request, _network(request, params), params)
    return lambda photos: [Found(heat) for heat in heats_of(photos)]


def weights(request: Request, params: Any) -> list[Path]:
    """The file of weights that is given, if there is one; a network's published weights do not change."""
    return [request.weights] if request.weights else []


def evaluate(request: Request, params: Any, dataset: "Dataset", samples: "Sequence[Sample]") -> Evaluated:
    """The rows of table 1, or of table 2 for rCAM in boxes."""
    from lib.papers.rcam.tables import table1, table2

    network = _network(request, params)
    heats_of = _heats_of(request, network, params)
    batch = batch_size(request.batch, params.tier[request.tier].rcam.batch, samples,
                       lambda part: heats_of([sample.photo() for sample in part]))
    if request.method == "rcam":
        scored, _ = table1(network, samples, params.rcam, batch)
    else:
        scored = table2(network, samples, params.rcam, batch)
    rows, _ = scored.table([], params.chance)
    return Evaluated(network.name, len(scored.ids), rows, f"{scored.dropped} without foreground left out")


def _heats_of(request: Request, network: "Network", params: Any) -> "Callable[[Sequence[Image]], Tensor]":
    """Photographs -> heat maps `(B, 1, 224, 224)` of the method that is asked for."""
    from lib.papers.rcam.box import rcam_box
    from lib.papers.rcam.method import rcam

    if request.method == "rcam_box":
        return lambda photos: rcam_box(network, photos, params.rcam)
    return lambda photos: rcam(network, photos, params.rcam).maps[request.method]


def _network(request: Request, params: Any) -> "Network":
    """The network that is asked for, or else the first of the tier's."""
    from lib.papers.rcam.tables import open_network

    name = request.network or params.tier[request.tier].rcam.networks[0]
    return open_network(name, params.rcam, request.weights)
