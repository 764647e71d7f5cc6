"""Instance activation maps: peaks of class maps, what in the image they come from, and the objects that fill up from there (section 3)."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from lib.data.images import shrunk
from lib.maps.peak_response import descend, trace
from lib.maps.peaks import Peaks, find_peaks, is_peak, peak_stimulation
from lib.nets.fcn import Fcn
from lib.papers.iam.filling import ExtentFilling
from lib.refine.convcrf import refine_instances
from lib.refine.settings import ConvCrfSettings
from lib.training.batches import square

STAGES = ("stage2", "stage3", "stage4")   # of the trunk, for the feature pyramid (section 3.3)
HALVED = 4                                # the encoder halves its maps twice
Choice = Callable[[Tensor], Peaks]        # class maps (B, K, h, w) -> the peaks to go down from
HIDDEN = -1e4                             # what a class map holds that is not to have peaks


@dataclass(frozen=True)
class Seen:
    """What a classifier sees in B images, padded to squares: its class maps, P peaks, and where in the images these come from."""
    maps: Tensor           # (B, K, h, w)
    scores: Tensor         # (B, K), the means over the peaks of each map
    peaks: Peaks
    prms: Tensor           # (P, m, m)
    levels: list[Tensor]   # (B, D, h, w) of STAGES, no larger than the encoded maps

    @property
    def confidences(self) -> Tensor:
        """Of each peak `(P,)`: the probability of its class, times its height as a share of the highest of its class map."""
        where = self.peaks.image, self.peaks.label
        return self.scores[where].sigmoid() * self.peaks.value / self.maps.amax((2, 3))[where]

    def of(self, image: int) -> "Seen":
        """The same of one image of the batch, which is then number 0."""
        mine = (self.peaks.image == image).nonzero()[:, 0]
        peaks = Peaks(*(getattr(self.peaks, name)[mine] for name in ("image", "label", "row", "column", "value")))
        return Seen(self.maps[image:image + 1], self.scores[image:image + 1], replace(peaks, image=torch.zeros_like(peaks.image)), self.prms[mine],
                    [level[image:image + 1] for level in self.levels])


def look(fcn: Fcn, photos: Sequence[Image.Image], side: int, map_side: int, choose: Choice) -> Seen:
    """What the classifier sees, and the response maps at `map_side` of the peaks that `choose` takes from its class maps."""
    device = next(fcn.parameters()).device
    rgb = torch.stack([square(photo, side) for photo in photos]).to(device, memory_format=torch.channels_last)
    with torch.inference_mode(False), torch.enable_grad():
        traced = trace(fcn, rgb, [fcn.trunk.stages[stage] for stage in STAGES])
        maps = traced.scores.detach()
        peaks = choose(maps)
        prms = adaptive_avg_pool2d(descend(traced, peaks)[:, None], map_side)[:, 0]
    return Seen(maps, peak_stimulation(maps), peaks, prms, [_at_most(level.detach(), map_side // HALVED) for level in traced.layers.values()])


def present(most: int) -> Choice:
    """Peaks with positive values of the classes with positive scores, at most so many a class."""
    return lambda maps: highest(find_peaks(maps, 0.0), most)


def labelled(labels: Tensor, most: int) -> Choice:
    """The same of those classes alone that the labels `(B, K)` bool name, for training."""
    return lambda maps: highest(find_peaks(maps.masked_fill(~labels.to(maps.device)[..., None, None], HIDDEN), 0.0), most)


def strongest(most: int) -> Choice:
    """Peaks of each image's best class: its positive ones, or the highest if none is."""
    def choose(maps: Tensor) -> Peaks:
        best = peak_stimulation(maps).argmax(1)
        mine = torch.zeros_like(maps[:, :, :1, :1], dtype=torch.bool)
        mine[torch.arange(len(maps)), best] = True
        image, label, row, column = (is_peak(maps) & mine & ((maps > 0) | (maps == maps.amax((2, 3), keepdim=True)))).nonzero().unbind(1)
        return highest(Peaks(image, label, row, column, maps[image, label, row, column]), most)
    return choose


def no_peaks(maps: Tensor) -> Peaks:
    """None, where only the trunk's maps are wanted."""
    return find_peaks(maps, float("inf"))


def highest(peaks: Peaks, most: int) -> Peaks:
    """At most so many peaks of each image and class, in the order in which they came."""
    rank = torch.zeros(len(peaks), dtype=torch.long)
    taken: dict[tuple[int, int], int] = {}
    for i in peaks.value.argsort(descending=True, stable=True).tolist():
        key = int(peaks.image[i]), int(peaks.label[i])
        rank[i] = taken[key] = taken.get(key, 0) + 1
    kept = (rank <= most).to(peaks.value.device)
    return Peaks(*(getattr(peaks, name)[kept] for name in ("image", "label", "row", "column", "value")))


@torch.inference_mode()
def activate(filling: ExtentFilling, seen: Seen) -> Tensor:
    """Instance activation maps `(P, m, m)` in 0..1, one a peak."""
    if not len(seen.peaks):
        return seen.prms
    return filling(seen.prms, seen.levels, seen.peaks.image).sigmoid()


def refined(photo: Image.Image, maps: Tensor, crf: ConvCrfSettings, side: int) -> Tensor:
    """Maps `(P, m, m)` of one image after the ConvCRF (section 3.3, post-processing): `(P, H, W)`, of the photograph at `side` pixels."""
    small = shrunk(photo, side)
    foreground = unsquared(maps, small.height, small.width)
    pixels = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(small.height, small.width, 3).permute(2, 0, 1)
    return refine_instances(pixels.to(maps.device), foreground, crf)


def unsquared(maps: Tensor, height: int, width: int) -> Tensor:
    """Maps `(P, m, m)` of a padded square as the image's own `(P, height, width)`."""
    side = max(height, width)
    if not len(maps):
        return maps.new_zeros(0, height, width)
    return interpolate(maps[:, None].float(), (side, side), mode="bilinear", align_corners=False)[:, 0, :height, :width]


def responses(seen: Seen, shape: Sequence[int]) -> Tensor:
    """Of one image: the class map of each peak, what is positive of it, `(P, *shape)`: PRM's retrieval tells background by it."""
    return unsquared(seen.maps[0, seen.peaks.label].clamp(min=0), *shape).cpu()


def _at_most(level: Tensor, side: int) -> Tensor:
    return level if level.shape[2] <= side else adaptive_avg_pool2d(level, side)
