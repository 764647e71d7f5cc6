"""Photographs as tensors."""
import numpy as np
import torch
from PIL import Image
from torch import Tensor


def resized(photo: Image.Image, size: tuple[int, int]) -> Tensor:
    """A photograph of `size` (width, height) by bilinear interpolation: RGB `(3, H, W)` uint8."""
    return torch.from_numpy(np.array(photo.resize(size, Image.Resampling.BILINEAR))).permute(2, 0, 1)
