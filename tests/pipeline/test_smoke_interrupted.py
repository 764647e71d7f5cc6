"""The pipeline is interrupted while notebooks run, and ends with the results of a run that was not."""
import signal
from pathlib import Path

import pytest
from small_project import checkout, dvc, interrupted, metrics, until, working_in

pytestmark = pytest.mark.slow


def test_an_interrupted_run_goes_on_where_it_was(project: Path, tmp_path: Path) -> None:
    """Ctrl-C during one notebook, the power cut during another: neither publishes anything.

    Two of rCAM's notebooks are enough.
    """
    folder = checkout(tmp_path / "project")
    results = folder / "reports" / "smoke"

    said = interrupted(folder, "rcam_constants@smoke", signal.SIGINT)
    assert "Interrupted; what was finished is kept" in said, said
    assert "lib/pipeline/" not in said, said   # no traceback of ours; the kernel may grumble
    left = sorted(str(path.relative_to(results)) for path in results.rglob("*.json"))
    assert left == ["code/data.json", "times/data.json"], said   # of what ended
    assert not list(folder.glob("**/.part-*")), said
    assert (folder / "data" / "smoke" / "collage" / "manifest.json").is_file()
    until(lambda: not working_in(folder), 30)

    said = interrupted(folder, "rcam_scales@smoke", signal.SIGKILL)
    assert "Stage 'data@smoke' didn't change" in said   # the data are there
    assert not (results / "metrics" / "rcam_scales.json").exists()
    assert not (results / "figures" / "rcam_scales").exists()
    until(lambda: not working_in(folder), 30)   # the kernel, a process group of its own, has noticed

    done = dvc(folder, "repro", "rcam_constants@smoke", "rcam_scales@smoke")
    assert done.status == 0, done.output
    assert set(done.stages) == {"rcam_constants@smoke", "rcam_scales@smoke"}
    here, there = metrics(folder), metrics(project)
    assert set(here) == {"rcam_constants", "rcam_scales"}
    for name in here:
        for part in ("results", "comparisons"):
            assert here[name][part] == there[name][part]
        # The data sets were composed twice, and are identical.
        assert here[name]["provenance"]["datasets"] == there[name]["provenance"]["datasets"]
