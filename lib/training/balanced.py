"""Mini-batches of few classes with several images each, as a loss over pairs of images needs them (CSoA, section 4.1)."""
from collections.abc import Sequence

import numpy as np

from lib.problem import Problem


def balanced_batches(classes: Sequence[int], batch: int, batch_classes: int, names: Sequence[str], draw: np.random.Generator) -> list[list[int]]:
    """An epoch: as many batches as the images fill, each of `batch_classes` classes (or all there are) with the same number of images.

    Classes take turns, and so do the images of a class; a class with fewer images than its share gives some of them again.
    """
    members = {c: np.flatnonzero(np.asarray(classes) == c) for c in sorted(set(classes))}
    if lone := [c for c, rows in members.items() if len(rows) < 2]:
        raise Problem(f'The class "{names[lone[0]]}" has one image to train on; a balanced batch pairs at least two of a class: leave it out or add images.')
    count = min(batch_classes, len(members))
    share = batch // count
    if share < 2:
        raise Problem(f"batch: {batch} images of {count} classes are fewer than two a class; raise batch or lower batch_classes.")
    class_turn = _Turns(list(members), draw)
    image_turns = {c: _Turns(rows.tolist(), draw) for c, rows in members.items()}
    return [[i for c in class_turn.take(count) for i in image_turns[c].take(share)] for _ in range(-(-len(classes) // (count * share)))]


class _Turns:
    """Everybody in random order, then everybody again in another."""

    def __init__(self, members: list[int], draw: np.random.Generator) -> None:
        self.members, self.draw, self.queue = members, draw, []

    def take(self, count: int) -> list[int]:
        """The next `count`, no two alike as long as there are that many."""
        taken: list[int] = []
        while len(taken) < count:
            fresh = [m for m in self.queue if m not in taken] or self._refill(taken)
            taken.append(fresh[0])
            self.queue.remove(fresh[0])
        return taken

    def _refill(self, taken: list[int]) -> list[int]:
        self.queue += self.draw.permutation(self.members).tolist()
        return [m for m in self.queue if m not in taken] or self.queue
