"""A copy of the project in which the pipeline can run, with this checkout's environment and packages."""
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from lib.base.paths import DATA, ROOT
from lib.params import SETTINGS

CSOA: tuple[str, ...] = SETTINGS["csoa"].NOTEBOOKS
RCAM: tuple[str, ...] = SETTINGS["rcam"].NOTEBOOKS
# The last two run IAM beside others.
IAM: tuple[str, ...] = (*SETTINGS["iam"].NOTEBOOKS, "comparison", "crf_exactness")
FROM_MAPS: tuple[str, ...] = (*SETTINGS["dcsm"].NOTEBOOKS, *SETTINGS["fcn_gbp"].NOTEBOOKS)
POINTING_BACK: tuple[str, ...] = ("MIRROR", "PYTHONPATH", "SUITE_OUTPUT", "TIERS")   # to this checkout or run


@dataclass(frozen=True)
class Run:
    """A command that has ended."""
    status: int
    output: str
    seconds: float

    @property
    def stages(self) -> list[str]:
        """The stages that DVC ran, in order."""
        return re.findall(r"^Running stage '(.*)':$", self.output, re.MULTILINE)


def of_smoke(*names: str) -> set[str]:
    """Stages of the tier smoke."""
    return {f"{name}@smoke" for name in names}


def environment(folder: Path) -> dict[str, str]:
    """This process's, without what would point back to this checkout or to this test run."""
    kept = {}
    for name, value in os.environ.items():
        if not name.startswith(("PYTEST", "COV_")) and name not in POINTING_BACK:
            kept[name] = value
    site = str(folder.parent / "dvc-site")
    return kept | {"OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": site}


def python(folder: Path, *words: str, timeout: int = 1800, **more: str) -> Run:
    """Run Python in a copy of the project; `more` goes into its environment."""
    start = time.perf_counter()
    run = subprocess.run([".venv/bin/python", *words], cwd=folder, env=environment(folder) | more,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, timeout=timeout)
    return Run(run.returncode, run.stdout, time.perf_counter() - start)


def dvc(folder: Path, *words: str) -> Run:
    return python(folder, "-m", "dvc", *words)


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def checkout(folder: Path) -> Path:
    """A commit of this project as it stands, with tier smoke; environment and packages are shared."""
    if not (ROOT / ".venv" / "bin" / "python").exists():
        pytest.skip("needs .venv (make setup)")
    try:
        names = git(ROOT, "ls-files", "-co", "--exclude-standard", "-z").split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs Git and a checkout")
    for name in names:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    params = folder / "params.yaml"
    text = re.sub(r"^tiers: *\[.*?\]", "tiers: [smoke]", params.read_text(), flags=re.MULTILINE)
    params.write_text(text)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=test", "-c", "user.email=test", "commit", "--quiet", "--message=all")
    (folder / ".venv").symlink_to(ROOT / ".venv")
    # What is downloaded here serves later runs, and the other way round.
    (DATA / ".packages").mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir()
    (folder / "data" / ".packages").symlink_to(DATA / ".packages")
    return folder


def interrupted(folder: Path, stage: str, stop: signal.Signals) -> str:
    """Start the pipeline up to `stage`; once its notebook has run for some seconds, send the signal.

    It goes to all processes, as from a terminal. What they said is returned.
    """
    log = folder.parent / "log.txt"
    with open(log, "w") as stream:
        process = subprocess.Popen(
            [".venv/bin/python", "-m", "dvc", "repro", stage], cwd=folder, env=environment(folder),
            stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=_heed_interruptions)
    name = stage.split("@")[0]

    def has_begun() -> bool:
        return process.poll() is not None or any((folder / "build").glob(f".part-*-{name}"))

    try:
        until(has_begun, 300)
        time.sleep(5)
        assert process.poll() is None, log.read_text()
        os.killpg(process.pid, stop)
        process.wait(60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return log.read_text()


def _heed_interruptions() -> None:
    """A shell's background job ignores Ctrl-C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def until(true: Callable[[], object], seconds: float) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def working_in(folder: Path) -> list[str]:
    """The commands of processes that work in a folder."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                commands.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:   # gone, or somebody else's
            continue
    return commands


def metrics(folder: Path) -> dict[str, dict[str, Any]]:
    """What the tier's notebooks wrote, by notebook."""
    files = (folder / "reports" / "smoke" / "metrics").glob("*.json")
    return {path.stem: json.loads(path.read_text()) for path in files}


def shipped(folder: Path) -> dict[str, Any]:
    """The file params.yaml as it stands."""
    return yaml.safe_load((folder / "params.yaml").read_text())


def smoke(folder: Path) -> dict[str, Any]:
    """The tier's block."""
    return shipped(folder)["tier"]["smoke"]


def values(results: dict[str, Any]) -> Iterator[tuple[str, dict[str, float]]]:
    """Where every value stands, and the value with its interval."""
    for where, value in _entries(results, 5):
        yield " ".join(where), value


def _entries(tree: dict[str, Any], depth: int) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, branch in tree.items():
        if depth == 1:
            yield (key,), branch
            continue
        for where, value in _entries(branch, depth - 1):
            yield (key, *where), value


def changed(copy: Path) -> set[str]:
    """Stages that DVC would run because of what was edited."""
    return set(json.loads(dvc(copy, "status", "--json").output.strip().splitlines()[-1]))


def descendants(copy: Path, stage: str) -> set[str]:
    """A stage and all that comes after it."""
    said = dvc(copy, "repro", "--dry", "--downstream", stage).output
    return set(re.findall(r"[Ss]tage '([^']+)'", said))


def edit(path: Path, old: str, new: str) -> None:
    """Replace the one place that matches."""
    text = path.read_text(encoding="utf-8")
    assert len(re.findall(old, text, re.MULTILINE)) == 1, old
    path.write_text(re.sub(old, new, text, flags=re.MULTILINE), encoding="utf-8")
