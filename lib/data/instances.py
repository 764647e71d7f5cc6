"""The true objects of an image: which pixels are whose, and of which class each is."""
import numpy as np

from lib.data.dataset import VOID, Sample
from lib.problem import Problem


def instance_truth(sample: Sample, n_classes: int) -> tuple[np.ndarray, dict[int, int]]:
    """(instance mask `(H, W)` uint8, number -> class 0 .. n_classes - 1) of an image with class and instance masks.

    Numbers may have gaps. An object's class is the one that most of its pixels have in the class mask, where 1 is the first class.
    """
    numbers, labels = sample.mask("instance_masks"), sample.mask("class_masks")
    found = {}
    for number in np.unique(numbers):
        if number not in (0, VOID):
            counts = np.bincount(labels[numbers == number], minlength=VOID + 1)[1:VOID]
            if not counts[:n_classes].any():
                raise Problem(f'The image "{sample.id}": object {number} of its instance mask has no pixel of a class in its class mask; mend one of them.')
            found[int(number)] = int(counts[:n_classes].argmax())
    return numbers, found
