"""One training on several processes: what a batch-wide loss needs from all of them."""
import torch
from torch import Tensor
from torch import distributed


def gathered(values: Tensor) -> Tensor:
    """The rows `(B, ...)` of every process, in their order, with derivatives; alone, the rows themselves."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return values
    from torch.distributed.nn.functional import all_gather

    if values.requires_grad:
        return torch.cat(all_gather(values))
    parts = [torch.empty_like(values) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, values.contiguous())
    return torch.cat(parts)


def share() -> tuple[int, int]:
    """(number of this process, how many there are)."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
