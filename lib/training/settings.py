"""How a multi-label network is trained; free of torch, so that params.yaml can be checked quickly."""
from dataclasses import dataclass
from typing import Literal

from lib.base.problem import Problem
from lib.base.runs import of_tier
from lib.base.strict import bounded
from lib.nets.modules import check_frozen


@dataclass(frozen=True)
class TrainingSettings:
    """How one network is trained (DCSM, sections 3.2 and 4.2).

    The head is trained alone first, then the trunk too, or what lies above the module `frozen`.

    side        the longest side of an image, padded to a square; scaled by a ratio drawn from `ratios` for
                every mini-batch
    width       0: one 1x1 convolution on the trunk; else VGG's fc6, fc7 and fc8 as convolutions of that width
    frozen      module of the trunk up to which nothing is trained (null: everything is, in the second phase)
    start       the last layer's bias: zero, or the classes' frequencies in the training images (priors)
    views       0: photographs go through the whole network; else the frozen part sees each image so many
                times only (ratios spread evenly, every other one flipped), and training goes on from its
                cached outputs; needs `frozen`
    """
    side: int = bounded(64, 2048)
    ratios: tuple[float, ...] = bounded(0.1, 4)
    batch: int = bounded(1, 1024)
    width: int = bounded(0, 4096)
    dropout: float = bounded(0, 0.95)
    start: Literal["zero", "priors"] = bounded()
    frozen: str | None = bounded()
    views: int = bounded(0, 32)
    optimiser: Literal["sgd", "adamw"] = bounded()
    head_epochs: int = bounded(0, 1000)
    epochs: int = bounded(0, 1000)
    head_rate: float = bounded(1e-9, 10)
    rate: float = bounded(1e-9, 10)
    weight_decay: float = bounded(0, 1)

    def check(self, where: str, network: str) -> None:
        """Refuse settings that contradict each other, or the network; `where`: their place in params.yaml."""
        check_frozen(where, network, self.frozen)
        if len(self.ratios) != 2 or self.ratios[0] > self.ratios[1]:
            raise Problem(f"{where}.ratios: {list(self.ratios)} must be a pair, "
                          "the lowest and the highest ratio.")
        if self.views and self.frozen is None:
            raise Problem(f"{where}.views: only what a frozen part has seen can be cached; "
                          'name its last module as "frozen", or set views to 0.')
        if self.head_epochs + self.epochs == 0:
            raise Problem(f"{where}: head_epochs and epochs are both 0, so that nothing would be trained; "
                          "raise one of them.")


@dataclass(frozen=True)
class Training:
    """Which networks are trained on the data set's train split, and how."""
    networks: dict[str, TrainingSettings]
    dataset: str = of_tier("dataset")

    def check(self, where: str) -> None:
        """Refuse settings that contradict each other; `where` is the block's place in params.yaml."""
        for network, settings in self.networks.items():
            settings.check(f"{where}.networks.{network}", network)
