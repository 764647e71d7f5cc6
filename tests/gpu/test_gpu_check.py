"""The comparison of devices: what it finds between one and the same, where it fails, and on a real GPU."""
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lib import gpu_check
from lib.base.paths import ROOT
from lib.gpu_check import compare, made_up
from lib.papers import PAPERS

# Not on a machine that only computes: the pipeline and the dense CRF.
ABSENT: tuple[str, ...] = ("pydensecrf", "papermill", "dvc", "nbformat", "IPython", "cv2", "sklearn",
                           "threadpoolctl")

Maps = Callable[[], Mapping[str, Tensor]]


class Toy:
    """A paper whose map is off by `error` on any device but the CPU's first."""

    def __init__(self, error: float) -> None:
        self.errors = [error, 0.0]

    def maps_on(self, *_: object) -> Maps:
        error = self.errors.pop(0)
        values = torch.zeros(1, 10, 10)
        values[0, 0, 0] = error
        return lambda: {"map": values}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def install(error: float) -> None:
        own = Toy(error)
        monkeypatch.setattr(gpu_check, "network", lambda: None)
        monkeypatch.setattr(gpu_check, "find_spec", lambda module: "toy" in module or None)
        monkeypatch.setattr(gpu_check, "import_module", lambda _: own)
        monkeypatch.setattr(gpu_check, "PAPERS", ("toy", "other"))
        monkeypatch.setattr(gpu_check, "own_device", lambda: torch.device("cuda", 0))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    return install


@pytest.mark.parametrize("error, agrees", [
    (0.0, True), (gpu_check.MEAN * 90, True), (gpu_check.MEAN * 110, False)])
def test_maps_that_differ_are_named(toy: Callable[[float], None], error: float, agrees: bool, tmp_path: Path,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    """One pixel of a hundred is off: the mean is a hundredth."""
    toy(error)
    assert gpu_check.main(["--json", str(tmp_path / "found.json")]) == (0 if agrees else 1)
    said = capsys.readouterr()
    assert ("All 1 maps agree" in said.out) == agrees
    assert ("1 of 1 maps differ" in said.err and "toy map" in said.err) != agrees
    found, = json.loads((tmp_path / "found.json").read_text())
    assert (found["paper"], found["name"]) == ("toy", "map") and found["cpu_milliseconds"] >= 0


def test_what_agrees() -> None:
    def measured(mean: float, largest: float) -> gpu_check.Compared:
        return gpu_check.Compared("toy", "map", mean, largest, 1.0, 1.0, 1.0)

    assert measured(gpu_check.MEAN, gpu_check.LARGEST).agrees
    assert not measured(0.0, 1.01 * gpu_check.LARGEST).agrees
    assert not measured(float("nan"), float("nan")).agrees


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main([]) == 1
    assert capsys.readouterr().err.startswith("There is no GPU here that torch can use; ")


def test_every_paper_is_compared() -> None:
    assert all((ROOT / "lib" / "papers" / paper / "devices.py").is_file() for paper in PAPERS)


def test_it_needs_no_more_than_the_networks_do() -> None:
    """Every paper's maps, so small that they take seconds, where other packages are not."""
    program = f"""
import sys
for name in {ABSENT!r}:
    sys.modules[name] = None   # to import it fails
from dataclasses import replace
import torch
from lib import gpu_check
from lib.papers.csoa import devices as csoa
from lib.papers.dcsm import devices as dcsm
from lib.papers.fcn_gbp import devices as fcn_gbp
from lib.papers.iam import devices as iam
from lib.params import load_params
csoa.SIDE = dcsm.SIDE = fcn_gbp.SIDE = iam.SIDE = 64
iam.MAP_SIDE = 32
gpu_check.medians = lambda actions, _: dict.fromkeys(actions, 0.0)
params = load_params()
params = replace(params, rcam=replace(params.rcam, sizes=(64, 96)))
photos = [photo.resize((64, 48)) for photo in gpu_check.made_up()]
found = gpu_check.compare(torch.device("cpu"), photos, params=params)
assert found and all(one.largest == 0 for one in found), found
assert all(one.spread > 0.05 for one in found), found
print(sorted({{one.paper for one in found}}))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(sorted(PAPERS))


def test_photographs_that_are_made_up_are_the_same_each_time() -> None:
    first, second = made_up(), made_up()
    assert [photo.size for photo in first] == list(gpu_check.SIZES)
    assert [photo.tobytes() for photo in first] == [photo.tobytes() for photo in second]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
@pytest.mark.parametrize("paper", PAPERS)
def test_maps_on_a_real_gpu_are_the_cpus(paper: str) -> None:
    found = compare(torch.device("cuda", 0), made_up(), [paper])
    assert found and [one for one in found if not one.agrees] == []
