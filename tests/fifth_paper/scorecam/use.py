"""Score-CAM on one's own photographs and data sets: `segment` and `evaluate` of the command line."""
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from lib.papers.found import Evaluated, Found, Request, Segmenter

if TYPE_CHECKING:
    from lib.data.dataset import Dataset, Sample

SEGMENTS = EVALUATES = ("scorecam",)


def segmenter(request: Request, params: Any) -> Segmenter:
    """Photographs -> heat maps."""
    from lib.papers.scorecam.method import score_cam
    from lib.papers.scorecam.tables import open_network

    network = open_network(_network(request, params))

    def maps_of(photos: Sequence[Image.Image]) -> list[Found]:
        heats = score_cam(network, photos, params.scorecam).maps["scorecam"]
        return [Found(heat.cpu()) for heat in heats]
    return maps_of


def evaluate(request: Request, params: Any, dataset: "Dataset", samples: "Sequence[Sample]") -> Evaluated:
    """The foreground rows of the notebook."""
    from lib.papers.scorecam.tables import PAIRS, open_network, run

    network = open_network(_network(request, params))
    scored = run(network, samples, params.scorecam).foreground
    rows, _ = scored.table(PAIRS, params.chance)
    return Evaluated(network.name, len(scored.ids), rows, f"{scored.dropped} without foreground left out")


def _network(request: Request, params: Any) -> str:
    return request.network or params.tier[request.tier].networks[0]
