"""Shape from response maps (rCAM, section 3.2).

It is the first principal components over the positions of an image.
"""
from collections.abc import Sequence

import torch
from torch import Tensor

# of the randomised range finder; enough for components to 1e-3 on real responses
OVERSAMPLING = 6
ROUNDS = 5


def principal_components(responses: Sequence[Tensor], components: int = 3) -> Tensor:
    """Scores `(B, components, H, W)` of each image's positions on its own leading components.

    responses: maps `(B, C_i, H, W)` of one side. Subspace iteration from a fixed start instead of an SVD an
    image; signs are fixed so that the largest loading is positive; divided by the first component's standard
    deviation, so that a guided filter's eps means the same for every network.
    """
    batch, _, height, width = responses[0].shape
    x = torch.cat([maps.flatten(2) for maps in responses], dim=1).float().contiguous()   # (B, D, N)
    x = x - x.mean(2, keepdim=True)
    loadings, scores = _leading(x, min(components, *x.shape[1:]))
    largest = loadings.gather(1, loadings.abs().argmax(1, keepdim=True))
    scores = scores * torch.where(largest < 0, -1.0, 1.0).transpose(1, 2)
    scale = scores[:, :1].square().mean(2, keepdim=True).sqrt().clamp(min=1e-8)
    missing = components - scores.shape[1]
    scores = torch.nn.functional.pad(scores / scale, (0, 0, 0, missing))
    return scores.view(batch, components, height, width)


def _leading(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Leading left singular vectors `(B, D, k)` of x `(B, D, N)` and the projections on them `(B, k, N)`."""
    width = min(k + OVERSAMPLING, *x.shape[1:])
    start = torch.randn(x.shape[1], width, generator=torch.Generator().manual_seed(0)).to(x)
    basis = torch.linalg.qr(start.expand(len(x), -1, -1)).Q
    for _ in range(ROUNDS):
        basis = torch.linalg.qr(x @ (x.transpose(1, 2) @ basis)).Q
    small = basis.transpose(1, 2) @ x                              # (B, width, N)
    _, vectors = torch.linalg.eigh(small @ small.transpose(1, 2))  # ascending
    loadings = basis @ vectors.flip(2)[:, :, :k]
    return loadings, loadings.transpose(1, 2) @ x
