"""What every method of the suite answers: photographs in, foreground maps and, where it tells classes apart, label maps out."""
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor


class Found(NamedTuple):
    """Of one photograph: foreground `(1, h, w)`; where the method tells classes apart, a label map `(H, W)` uint8 with what its numbers from
    1 on stand for; and a few words on what was found."""
    heat: "Tensor"
    labels: np.ndarray | None = None
    classes: Sequence[str] = ()
    names: Sequence[str] = ()


Method = Callable[[Sequence[Image.Image]], Sequence[Found]]
