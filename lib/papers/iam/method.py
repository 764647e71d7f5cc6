"""Instance activation maps (section 3): peaks of class maps, their origin, and what fills up from there."""
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from lib.data.images import shrunk
from lib.data.loading import to_device
from lib.maps.peak_response import descend, trace
from lib.maps.peaks import Peaks, find_peaks, is_peak, peak_stimulation
from lib.nets.fcn import Fcn
from lib.papers.iam.filling import ExtentFilling
from lib.refine.convcrf import refine_instances
from lib.refine.settings import ConvCrfSettings
from lib.training.batches import square

# Of the trunk, for the feature pyramid (section 3.3).
PYRAMID_STAGES: tuple[str, ...] = ("stage2", "stage3", "stage4")
HALVED = 4       # the encoder halves its maps twice
HIDDEN = -1e4    # what a class map holds that is not to have peaks
ChoosePeaks = Callable[[Tensor], Peaks]   # class maps (B, K, h, w) -> the peaks to go down from


@dataclass(frozen=True)
class ClassifierOutput:
    """A classifier's forward pass over B images that were padded to squares, and its peaks.

    class_maps  (B, K, h, w)
    scores      (B, K): the mean over the peaks of each class map
    peaks       P of them, of all images
    prms        (P, m, m): peak response maps, where in its image each peak comes from
    levels      (B, D, h, w): feature maps of PYRAMID_STAGES, no larger than the encoded maps
    """
    class_maps: Tensor
    scores: Tensor
    peaks: Peaks
    prms: Tensor
    levels: list[Tensor]

    @property
    def confidences(self) -> Tensor:
        """`(P,)`: the probability of each peak's class, times its height as a share of its map's highest."""
        where = self.peaks.image, self.peaks.label
        probability = self.scores[where].sigmoid()
        highest_value = self.class_maps.amax((2, 3))[where]
        return probability * self.peaks.value / highest_value

    def of_image(self, image: int) -> "ClassifierOutput":
        """The output of one image of the batch alone, whose number is then 0."""
        its_peaks = (self.peaks.image == image).nonzero()[:, 0]
        peaks = picked(self.peaks, its_peaks)
        alone = slice(image, image + 1)
        return ClassifierOutput(self.class_maps[alone], self.scores[alone],
                                replace(peaks, image=torch.zeros_like(peaks.image)), self.prms[its_peaks],
                                [level[alone] for level in self.levels])


def run_classifier(fcn: Fcn, photos: Sequence[Image.Image], side: int, map_side: int,
                   choose: ChoosePeaks) -> ClassifierOutput:
    """A forward pass, and the way down from the peaks that `choose` takes from the class maps.

    side, map_side   of the squares that the classifier sees, and of the peak response maps
    """
    rgb = padded_squares(fcn, photos, side)
    with torch.inference_mode(False), torch.enable_grad():
        traced = trace(fcn, rgb, [fcn.trunk.stages[stage] for stage in PYRAMID_STAGES])
        class_maps = traced.scores.detach()
        peaks = choose(class_maps)
        prms = adaptive_avg_pool2d(descend(traced, peaks)[:, None], map_side)[:, 0]
    levels = [_at_most(level.detach(), map_side // HALVED) for level in traced.layers.values()]
    return ClassifierOutput(class_maps, peak_stimulation(class_maps), peaks, prms, levels)


def padded_squares(fcn: Fcn, photos: Sequence[Image.Image], side: int) -> Tensor:
    """RGB `(B, 3, side, side)` of photographs that are padded to squares, on the classifier's device."""
    rgb = torch.stack([square(photo, side) for photo in photos])
    return to_device(rgb, fcn.device)


def present(most: int) -> ChoosePeaks:
    """Peaks with positive values of the classes with positive scores, at most so many a class."""
    return lambda maps: highest(find_peaks(maps, 0.0), most)


def labelled(labels: Tensor, most: int) -> ChoosePeaks:
    """Peaks as of `present`, but of those classes alone that the labels `(B, K)` bool name; for training."""
    def choose(maps: Tensor) -> Peaks:
        is_labelled = labels.to(maps.device)[..., None, None]
        return highest(find_peaks(maps.masked_fill(~is_labelled, HIDDEN), 0.0), most)
    return choose


def strongest(most: int) -> ChoosePeaks:
    """Peaks of each image's best class: its positive ones, or the highest if none is."""
    def choose(maps: Tensor) -> Peaks:
        best = peak_stimulation(maps).argmax(1)
        is_best_class = torch.zeros_like(maps[:, :, :1, :1], dtype=torch.bool)
        is_best_class[torch.arange(len(maps), device=maps.device), best] = True
        is_high = (maps > 0) | (maps == maps.amax((2, 3), keepdim=True))
        return highest(peaks_where(maps, is_peak(maps) & is_best_class & is_high), most)
    return choose


def no_peaks(maps: Tensor) -> Peaks:
    """None, where only the trunk's maps are wanted."""
    return find_peaks(maps, float("inf"))


def peaks_where(maps: Tensor, chosen: Tensor) -> Peaks:
    """The `chosen` places `(B, K, h, w)` bool of class maps, in scan order."""
    image, label, row, column = chosen.nonzero().unbind(1)
    return Peaks(image, label, row, column, maps[image, label, row, column])


def picked(peaks: Peaks, which: Tensor | list[int]) -> Peaks:
    """Some of the peaks, by their numbers."""
    return Peaks(peaks.image[which], peaks.label[which], peaks.row[which], peaks.column[which],
                 peaks.value[which])


def highest(peaks: Peaks, most: int) -> Peaks:
    """At most so many peaks of each image and class, in the order in which they came."""
    values = peaks.value.tolist()
    groups = list(zip(peaks.image.tolist(), peaks.label.tolist(), strict=True))
    taken: Counter[tuple[int, int]] = Counter()
    kept = []
    for peak in sorted(range(len(values)), key=lambda peak: -values[peak]):   # of equal ones the first
        taken[groups[peak]] += 1
        if taken[groups[peak]] <= most:
            kept.append(peak)
    return picked(peaks, sorted(kept))


@torch.inference_mode()
def activate(filling: ExtentFilling, output: ClassifierOutput) -> Tensor:
    """Instance activation maps `(P, m, m)` in 0..1, one a peak."""
    if not len(output.peaks):
        return output.prms
    return filling(output.prms, output.levels, output.peaks.image).sigmoid()


def refined(photo: Image.Image, maps: Tensor, crf: ConvCrfSettings, side: int) -> Tensor:
    """Maps `(P, m, m)` of one image, post-processed by the ConvCRF (section 3.3).

    `(P, h, w)`: the photograph's shape with a longest side of at most `side` pixels.
    """
    small = shrunk(photo, side)
    foreground = unsquared(maps, small.height, small.width)
    raw = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8)
    pixels = raw.view(small.height, small.width, 3).permute(2, 0, 1)
    return refine_instances(pixels.to(maps.device), foreground, crf)


def unsquared(maps: Tensor, height: int, width: int) -> Tensor:
    """Maps `(P, m, m)` of a padded square as the image's own `(P, height, width)`."""
    if not len(maps):
        return maps.new_zeros(0, height, width)
    side = max(height, width)
    large = interpolate(maps[:, None].float(), (side, side), mode="bilinear", align_corners=False)
    return large[:, 0, :height, :width]


def class_responses(output: ClassifierOutput, shape: Sequence[int]) -> Tensor:
    """The positive part of each peak's class map in one image, `(P, *shape)`: PRM tells background by it."""
    own_maps = output.class_maps[0, output.peaks.label]
    return unsquared(own_maps.clamp(min=0), *shape).cpu()


def _at_most(level: Tensor, side: int) -> Tensor:
    if level.shape[2] <= side:
        return level
    return adaptive_avg_pool2d(level, side)
