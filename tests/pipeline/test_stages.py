"""What the commands of dvc.yaml call, with the expensive parts taken out."""
import dataclasses
import inspect
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.params import NOTEBOOKS, TIERS, Params, load_params
from lib.pipeline import __main__ as command, repro, stages

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
COMMANDS = [(name, item, stage["do"]["cmd"].replace("${item}", item)) for name, stage in STAGES.items()
            for item in (stage["foreach"] if name == "strip" else TIERS)]


@pytest.fixture
def params(monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.setenv("MIRROR", "")
    monkeypatch.delenv("MIRROR")   # what the suite puts there is taken away again
    return load_params()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("BUILD", "DATA", "REPORTS"):
        monkeypatch.setattr(stages, name, tmp_path / name.lower())
    monkeypatch.setattr(stages, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What was called of `stages`, with its arguments; none of it runs, whatever stages there will be."""
    made: list[tuple] = []
    monkeypatch.setattr("lib.pipeline.notebook.strip", lambda source, target: made.append(("strip", source, target)))
    for function, value in inspect.getmembers(stages, inspect.isfunction):
        if value.__module__ == stages.__name__:
            monkeypatch.setattr(stages, function, lambda *args, function=function: made.append((function, *args)))
    return made


@pytest.mark.parametrize("name, item, words", COMMANDS, ids=[f"{name}@{item}" for name, item, _ in COMMANDS])
def test_every_command_of_the_pipeline_reaches_its_stage(name: str, item: str, words: str, calls: list[tuple]) -> None:
    python, *rest = words.split()
    assert python == ".venv/bin/python" and rest[:2] == ["-m", "lib.pipeline"]
    assert command.main(rest[2:]) == 0
    expected = {"strip": ("strip", ROOT / "notebooks" / f"{item}.ipynb", ROOT / "build" / "source" / f"{item}.ipynb"),
                "data": ("build_data", item), "dcsm_train": ("train_dcsm", item), "dcsm_maps": ("maps_dcsm", item),
                "csoa_train": ("train_csoa", item), "proposals": ("find_proposals", item), "iam_train": ("train_iam", item),
                "report": ("report", item)}.get(name, ("run", name, item))
    assert calls == [expected]
    outs = [out.replace("${item}", item) for out in STAGES[name]["do"]["outs"] if isinstance(out, str)]
    if name == "strip":
        assert outs == [str(calls[0][2].relative_to(ROOT))]


def test_report_without_a_tier_makes_those_that_are_active(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(stages, "report", made.append)
    assert command.main(["report"]) == 0 and made == params.tiers


@pytest.mark.parametrize("words, expected", [
    (["repro"], ([], None)), (["repro", "--tier", "smoke", "--tier", "collage", "--mirror", "m"], (["smoke", "collage"], "m"))])
def test_repro_passes_its_exit_status_on(words: list[str], expected: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple] = []
    monkeypatch.setattr(repro, "repro", lambda *args: calls.append(args) or 3)
    assert command.main(words) == 3 and calls == [expected]


@pytest.mark.parametrize("words, message", [
    (["strip", "rcamm"], "there is no such notebook"), (["data", "smokee"], 'There is no tier "smokee"; did you mean "smoke"?'),
    (["train", "mirorr"], 'There is no tier "mirorr"; did you mean "mirror"?'),
    (["maps", "mirorr"], 'There is no tier "mirorr"; did you mean "mirror"?'),
    (["run", "rcamm", "smoke"], 'There is no notebook "rcamm"; did you mean "rcam"?'),
    (["run", "rcam", "colage"], 'There is no tier "colage"; did you mean "collage"?')])
def test_a_problem_is_one_line_without_a_traceback(words: list[str], message: str, params: Params, capsys: pytest.CaptureFixture) -> None:
    assert command.main(words) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_an_interruption_is_one_line_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "run", stop)
    assert command.main(["run", "rcam", "smoke"]) == 130
    assert capsys.readouterr().err.startswith("Interrupted; ")


def test_notebooks_get_their_block_and_nothing_else(params: Params, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple] = []
    monkeypatch.setattr("lib.pipeline.notebook.run_notebook", lambda *args: calls.append(args))
    for name in NOTEBOOKS:
        stages.run(name, "smoke")
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["tier"]["smoke"]
    assert calls == [(elsewhere / "build" / "source" / f"{name}.ipynb", "smoke", {"tier": "smoke", **raw[name]}) for name in NOTEBOOKS]
    assert os.environ["MIRROR"] == str(elsewhere / params.mirror)   # inherited by the kernel


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders below a temporary one (code stays where it is), and which of them were opened as data sets."""
    for name in ("BUILD", "DATA", "REPORTS"):
        monkeypatch.setattr(stages, name, tmp_path / name.lower())
    folders: list[Path] = []
    monkeypatch.setattr("lib.data.dataset.Dataset", lambda folder: folders.append(folder) or "data set")
    return folders


def listed(stage: str, tier: str, kind: str) -> list[str]:
    """What dvc.yaml says that a stage writes, or which modules it depends on."""
    entries = STAGES[stage]["do"].get(kind, [])
    names = [name.replace("${item}", tier) for entry in entries for name in ([entry] if isinstance(entry, str) else entry)]
    return sorted(name for name in names if kind != "deps" or name.startswith("lib/"))


@pytest.mark.parametrize("tier", TIERS)
def test_training_writes_what_the_pipeline_expects(tier: str, params: Params, opened: list[Path], tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple] = []
    monkeypatch.setattr("lib.training.networks.train_networks", lambda *args: calls.append(args))
    stages.train_dcsm(tier)
    (data, networks, seed, folders, sources), = calls
    block = params.tier[tier].dcsm_train
    assert opened == [tmp_path / "data" / tier / block.dataset] and (data, networks, seed) == ("data set", block.networks, params.seed)
    assert [str(folders.weights.relative_to(tmp_path))] == listed("dcsm_train", tier, "outs")
    assert [str(folders.curves.relative_to(tmp_path))] == listed("dcsm_train", tier, "plots")
    assert sorted(str(path.relative_to(ROOT)) for path in sources) == listed("dcsm_train", tier, "deps")   # trained anew when they change
    assert os.environ["MIRROR"] == str(ROOT / params.mirror)   # where weights of trunks may lie


@pytest.mark.parametrize("tier", TIERS)
def test_filling_modules_learn_from_proposals(tier: str, params: Params, opened: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, trained = [], []
    monkeypatch.setattr("lib.proposals.store.compute", lambda *args: found.append(args))
    monkeypatch.setattr("lib.papers.iam.training.train_run", lambda *args: trained.append(args))
    stages.find_proposals(tier)
    stages.train_iam(tier)
    run = params.tier[tier].iam_train
    (data, settings, filling, seed, proposals, folder, curves, classifying, learning), = trained
    assert (data, settings, filling, seed) == ("data set", run, params.iam_filling, params.seed) and opened[-1] == tmp_path / "data" / tier / run.dataset
    assert [args[1] for args in found] == list(params.tier[tier].proposals.images.values()) and proposals in [args[2] for args in found]
    assert [str(proposals.parent.relative_to(tmp_path))] == listed("proposals", tier, "outs")
    assert [str(folder.relative_to(tmp_path))] == listed("iam_train", tier, "outs") and [str(curves.relative_to(tmp_path))] == listed("iam_train", tier, "plots")
    named = sorted({str(path.relative_to(ROOT)) for path in (*classifying, *learning)})
    assert set(named) < set(listed("iam_train", tier, "deps"))   # and the stage's own module
    assert all(sorted(str(path.relative_to(ROOT)) for path in args[3]) == listed("proposals", tier, "deps") for args in found)


@pytest.mark.parametrize("tier", TIERS)
def test_raw_maps_start_from_what_was_trained(tier: str, params: Params, opened: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple] = []
    monkeypatch.setattr("lib.papers.dcsm.maps.compute", lambda *args: calls.append(args))
    stages.maps_dcsm(tier)
    (data, run, settings, weights, folder, sources), = calls
    block = params.tier[tier].dcsm_maps
    assert opened == [tmp_path / "data" / tier / block.dataset] and (data, run, settings) == ("data set", block, params.dcsm_maps)
    assert [str(weights.relative_to(tmp_path))] == listed("dcsm_train", tier, "outs")
    assert [str(folder.relative_to(tmp_path))] == listed("dcsm_maps", tier, "outs")
    assert sorted(str(path.relative_to(ROOT)) for path in sources) == listed("dcsm_maps", tier, "deps")


def test_the_environment_goes_before_the_parameter(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRROR", "elsewhere")
    assert stages.use_mirror(params) == Path("elsewhere") and os.environ["MIRROR"] == "elsewhere"


@pytest.mark.parametrize("tier", TIERS)
def test_data_sets_of_a_tier_come_from_their_importers(tier: str, params: Params, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(stages, "check_sources", lambda params, tiers: calls.append(tiers))
    monkeypatch.setattr("lib.data.collage.compose.build_collage", lambda *args, single: calls.append((*args, single)))
    monkeypatch.setattr("lib.data.mirror.import_mirror", lambda *args: calls.append(args))
    monkeypatch.setattr("lib.data.official.import_official", lambda *args, **more: calls.append((*args, more)))
    stages.build_data(tier)
    data = params.tier[tier].data
    if tier in ("smoke", "collage"):
        expected = [(elsewhere / "data" / tier / name, elsewhere / "data" / ".packages", params.seed, data[name], single)
                    for name, single in (("collage", False), ("collage_single", True))]
    elif tier == "mirror":
        expected = [(name, elsewhere / "data" / "mirror" / name, elsewhere / params.mirror) for name in data]
    else:
        expected = [(name, elsewhere / options["source"], elsewhere / "data" / "paper" / name, {}) for name, options in data.items()]
    assert calls == [[tier], *expected]


def test_further_sources_of_a_data_set_are_passed_on(params: Params, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    block = dataclasses.replace(params.tier["paper"], data={"voc2012": {"sbd": "more/SBD"}})
    monkeypatch.setattr(stages, "load_params", lambda: dataclasses.replace(params, tier={"paper": block}))
    monkeypatch.setattr(stages, "check_sources", lambda params, tiers: None)
    monkeypatch.setattr("lib.data.official.import_official", lambda *args, **more: calls.append((*args, more)))
    stages.build_data("paper")
    assert calls == [("voc2012", elsewhere / "datasets" / "voc2012", elsewhere / "data" / "paper" / "voc2012", {"sbd": elsewhere / "more" / "SBD"})]


def test_sources_are_checked_for_the_tiers_asked_for(params: Params, elsewhere: Path) -> None:
    stages.check_sources(params, ["smoke", "collage"])   # these need nothing
    with pytest.raises(Problem, match=r"not the mirror \(no manifest.json\)"):
        stages.check_sources(params, ["collage", "mirror"])
    with pytest.raises(Problem, match="PASCAL-S"):
        stages.check_sources(params, ["paper"])


def test_a_report_takes_in_the_executed_notebooks(params: Params, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    headlines: list[Path] = []
    monkeypatch.setattr("lib.report.readme.update_readme", lambda readme, reports: headlines.append(readme))
    for tier in ("smoke", "collage"):
        (elsewhere / "build" / tier).mkdir(parents=True)
        executed = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"executed for {tier}")])
        nbformat.write(executed, elsewhere / "build" / tier / "rcam.ipynb")
        stages.report(tier)
        folder = elsewhere / "reports" / tier
        assert [p.name for p in (folder / "notebooks").iterdir()] == ["rcam.ipynb"]
        assert f"executed for {tier}" in (folder / "notebooks" / "rcam.ipynb").read_text()
        assert (folder / "claims.json").is_file() and "Not run in this tier." in (folder / "README.md").read_text(encoding="utf-8")
    assert headlines == [elsewhere / "README.md"]   # the smoke tier has no headline
