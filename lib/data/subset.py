"""A fixed part of a list of samples."""
from collections.abc import Sequence

from lib.data.dataset import Sample


def subset(samples: Sequence[Sample], images: int | None) -> list[Sample]:
    """`images` samples spread evenly over the list, or all: a fixed choice, stated in the report by its number."""
    if images is None or images >= len(samples):
        return list(samples)
    return [samples[i * len(samples) // images] for i in range(images)]
