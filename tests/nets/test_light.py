"""Networks are there without torch's compiler, and whoever wants it gets the real one."""
import os
import subprocess
import sys

from lib.base.paths import ROOT
from lib.nets.light import COMPILER, without_compiler

PROGRAM = """
import sys
import torch
from lib.nets import load_network
network = load_network("efficientnet_lite0", pretrained=False)
load_network("torchvision_googlenet", pretrained=False)
with torch.inference_mode():
    network(torch.rand(1, 3, 64, 64))
assert "torch._dynamo" not in sys.modules, "the compiler was imported"
import torch._dynamo
assert torch._dynamo.utils.is_compile_supported("cpu") is not None and torch._dynamo.disable(len)([1]) == 1
assert torch._dynamo.__file__
"""


def test_networks_do_without_it() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, cwd=ROOT, env=environment)


def test_who_has_it_keeps_it() -> None:
    import torch._dynamo as compiler

    with without_compiler():
        assert sys.modules[COMPILER] is compiler
    assert sys.modules[COMPILER] is compiler
