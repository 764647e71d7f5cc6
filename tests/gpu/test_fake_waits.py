"""Where the CPU waits for a GPU: the list in tests/helpers/gpu_waits.py, and nowhere else."""
import ast
from pathlib import Path

import pytest
import torch
from fake_gpu import BOTH, GPU, fake_gpu, on, waits
from gpu_waits import WAITS, Wait

from lib.base.paths import ROOT


@pytest.mark.parametrize("wait", WAITS, ids=lambda wait: wait.place)
def test_what_is_said_to_wait_does(wait: Wait) -> None:
    """A place that waits no longer is to be struck off the list."""
    with fake_gpu():
        arguments = wait.asked(GPU)
        with pytest.raises(Exception) as caught:
            wait.function(*arguments)
    assert waits(caught.value), f"{wait.place} fails for another reason: {caught.value!r}"


@pytest.mark.parametrize("device", BOTH, ids=str)
@pytest.mark.parametrize("wrong", [
    lambda x: x.sum().item(),
    lambda x: x.tolist(),
    lambda x: bool(x.sum() > 0),
    lambda x: x.nonzero(),
    lambda x: x[x > 0],
    lambda x: x.cpu().numpy(),
])
def test_waiting_is_noticed(device: torch.device, wrong: object) -> None:
    with fake_gpu(), pytest.raises(Exception) as caught:
        wrong(on(device, 3))
    assert waits(caught.value)


@pytest.mark.parametrize("device", BOTH, ids=str)
def test_devices_that_are_mixed_are_noticed(device: torch.device) -> None:
    with fake_gpu(), pytest.raises(RuntimeError, match="device") as caught:
        on(device, 3) + torch.zeros(3)
    assert not waits(caught.value)


def test_one_place_chooses_the_device() -> None:
    """Everywhere else a tensor's own device counts: no other call is given the name of one.

    Autocast is: it is told for which device, not where.
    """
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lib").rglob("*.py") if chooses(path)}
    assert found == {"lib/base/parallel.py"}


def chooses(path: Path) -> bool:
    """Whether a file puts something on a GPU by itself: `.cuda()`, or a GPU's name in a call."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return any(names_a_gpu(call) for call in calls)


def names_a_gpu(call: ast.Call) -> bool:
    function = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    words = [str(one.value) for one in arguments if isinstance(one, ast.Constant)]
    has_name = any(word.split(":")[0] in ("cuda", "mps", "xpu") for word in words)
    return function == "cuda" or (has_name and function != "autocast")
