"""Where numbers come from: what was computed on, and which revision."""
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from lib.report import provenance as module
from lib.report.provenance import device_used, provenance


@dataclass(frozen=True)
class Block:
    side: int


def test_a_process_that_never_computed_on_an_accelerator_says_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """An accelerator that is merely there is not the one that computed."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert device_used() == f"cpu ({torch.get_num_threads()} threads)"


def test_an_accelerator_that_computed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Made-up 1")
    assert device_used() == "cuda (Made-up 1)"


@pytest.mark.parametrize("variable, threads", [("3", "3"), (None, "8"), ("", "8")])
def test_a_process_without_torch_does_not_import_it(monkeypatch: pytest.MonkeyPatch, variable: str | None,
                                                    threads: str) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(module.os, "cpu_count", lambda: 8)
    if variable is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert device_used() == f"cpu ({threads} threads)"
    assert "torch" not in sys.modules


def test_parameters_by_value_and_a_revision_that_only_code_makes_dirty(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance({}, {}, {})["git"] == {"revision": "", "dirty": False}   # no checkout
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    (tmp_path / "params.yaml").write_text("seed: 1")
    found = provenance({"rcam": Block(3), "seed": 0}, {"voc": "a" * 64}, {"net": "b" * 64})
    assert found["params"] == {"rcam": {"side": 3}, "seed": 0}
    assert (found["datasets"], found["weights"]) == ({"voc": "a" * 64}, {"net": "b" * 64})
    assert len(found["git"]["revision"]) == 40 and not found["git"]["dirty"]
    assert found["packages"]["torch"] == version("torch")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "new.py").write_text("")
    assert provenance({}, {}, {})["git"]["dirty"]
