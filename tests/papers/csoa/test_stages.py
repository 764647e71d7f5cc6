"""The stage csoa_train looks through the data sets of all runs before it trains anything."""
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from csoa_toys import TRAINING, toy_data

from lib.base.problem import Problem
from lib.papers.csoa import networks, stages
from lib.papers.csoa.settings import CsoaRun, CsoaRuns
from lib.params import Params, load_params

RUN = CsoaRun(least=2, seeds=[0], variants=["base"], ten_crop=False, training=TRAINING)


def code_of(*entries: Callable[..., Any]) -> dict[str, str]:
    return {entry.__name__: "1" for entry in entries}


def params_with(*datasets: str) -> Params:
    """Shipped parameters whose smoke tier trains one network on each of these data sets."""
    params = load_params()
    runs = CsoaRuns({name: {"toy": RUN} for name in datasets})
    return replace(params, tier={"smoke": replace(params.tier["smoke"], csoa_train=runs)})


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders of the runs that are trained, in order; nothing is really trained."""
    folders: list[Path] = []
    monkeypatch.setattr(stages, "DATA", tmp_path)
    monkeypatch.setattr(stages, "BUILD", tmp_path / "build")
    monkeypatch.setattr(stages, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr(networks, "train_run", lambda plan, folder, logs: folders.extend([folder, logs]))
    return folders


def test_every_run_has_its_place(tmp_path: Path, trained: list[Path]) -> None:
    for name in ("cub", "ilsvrc"):
        toy_data(tmp_path / "smoke" / name)
    stages.csoa_train(params_with("cub", "ilsvrc"), "smoke", code_of)
    expected = []
    for name in ("cub", "ilsvrc"):
        expected.append(tmp_path / f"build/smoke/csoa_train/{name}/toy")
        expected.append(tmp_path / f"reports/smoke/curves/csoa_train/{name}/toy")
    assert trained == expected


@pytest.mark.parametrize("missing", ["train", "val", "test"])
def test_a_later_data_set_that_lacks_a_split_is_named_before_the_first_is_trained_on(
        tmp_path: Path, trained: list[Path], missing: str) -> None:
    toy_data(tmp_path / "smoke" / "cub")
    splits = [split for split in ("train", "val", "test") if split != missing]
    toy_data(tmp_path / "smoke" / "ilsvrc", tuple(splits))
    with pytest.raises(Problem, match=f'ilsvrc: no image of a single object in split "{missing}"') as caught:
        stages.csoa_train(params_with("cub", "ilsvrc"), "smoke", code_of)
    assert "\n" not in str(caught.value)
    assert trained == []


def test_a_damaged_file_of_a_later_data_set_is_named_before_the_first_is_trained_on(
        tmp_path: Path, trained: list[Path]) -> None:
    toy_data(tmp_path / "smoke" / "cub")
    data = toy_data(tmp_path / "smoke" / "ilsvrc")
    image = data.folder / data.samples[0].image
    image.write_bytes(b"damaged")
    with pytest.raises(Problem, match="its content differs from the manifest"):
        stages.csoa_train(params_with("cub", "ilsvrc"), "smoke", code_of)
    assert trained == []
