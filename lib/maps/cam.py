"""Class activation maps (Zhou et al., CVPR 2016) of networks that end in pooling and one linear layer."""
import torch
from torch import Tensor


def class_scores(features: Tensor, weight: Tensor) -> Tensor:
    """Score maps of every class `(B, K, h, w)`, without bias.

    From features `(B, D, h, w)` and the classifier `(K, D)`.
    """
    return torch.einsum("bdhw,kd->bkhw", features, weight)


def cam(features: Tensor, weight: Tensor, classes: Tensor) -> Tensor:
    """CAM_j(x) = sum_i w_ij C_i(x) for one class an image: `(B, 1, h, w)`; without bias."""
    return torch.einsum("bdhw,bd->bhw", features, weight[classes]).unsqueeze(1)


def winner_under_max_pooling(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The class whose strongest position scores highest `(B,)`.

    This is the network read with global max pooling (Oquab et al.).
    """
    return (class_scores(features, weight).amax((2, 3)) + bias).argmax(1)


def normalise(maps: Tensor) -> Tensor:
    """Each map of `(B, 1, H, W)` stretched to 0..1; a constant map becomes 0."""
    low = maps.amin((2, 3), keepdim=True)
    high = maps.amax((2, 3), keepdim=True)
    return (maps - low) / (high - low).clamp(min=1e-12)


def each_maximum_is_one(maps: Tensor) -> Tensor:
    """Each map `(..., H, W)` divided by its own maximum."""
    return maps / maps.amax((-2, -1), keepdim=True).clamp(min=1e-12)
