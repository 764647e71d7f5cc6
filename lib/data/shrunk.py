"""Photographs at the size at which segments are found."""
from PIL import Image


def shrunk(photo: Image.Image, side: int) -> Image.Image:
    """The photograph with a longest side of at most `side` pixels, each the mean of those it covers."""
    small = photo.copy()
    small.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=None)   # never enlarges
    return small
