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
from lib.params import FROM_CSOA, FROM_IAM, NOTEBOOKS

# stages that run notebooks
RCAM = {f"{name}@smoke" for name in NOTEBOOKS if name.startswith("rcam")}
CSOA = {f"{name}@smoke" for name in FROM_CSOA}
IAM = {f"{name}@smoke" for name in FROM_IAM}
FROM_MAPS = {f"{name}@smoke" for name in NOTEBOOKS} - RCAM - CSOA - IAM   # DCSM's and its poster's


@dataclass(frozen=True)
class Run:
    status: int
    output: str
    seconds: float

    @property
    def stages(self) -> list[str]:
        return re.findall(r"^Running stage '(.*)':$", self.output, re.MULTILINE)


def environment(folder: Path) -> dict[str, str]:
    """This process's, without what would point back to this checkout or to this test run."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV_")) and k not in ("MIRROR", "PYTHONPATH", "SUITE_OUTPUT", "TIERS")}
    return kept | {"OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(folder.parent / "dvc-site")}


def python(folder: Path, *words: str, timeout: int = 900, **more: str) -> Run:
    start = time.perf_counter()
    run = subprocess.run([".venv/bin/python", *words], cwd=folder, env=environment(folder) | more, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
    return Run(run.returncode, run.stdout, time.perf_counter() - start)


def dvc(folder: Path, *words: str) -> Run:
    return python(folder, "-m", "dvc", *words)


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True).stdout


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
    params.write_text(re.sub(r"^tiers: *\[.*?\]", "tiers: [smoke]", params.read_text(), flags=re.MULTILINE))
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=test", "-c", "user.email=test", "commit", "--quiet", "--message=all")
    (folder / ".venv").symlink_to(ROOT / ".venv")
    (DATA / ".packages").mkdir(parents=True, exist_ok=True)   # what is downloaded here serves later runs, and the other way round
    (folder / "data").mkdir()
    (folder / "data" / ".packages").symlink_to(DATA / ".packages")
    return folder


def interrupted(folder: Path, stage: str, stop: signal.Signals) -> str:
    """Start the pipeline up to `stage`; once its notebook has run for some seconds, send the signal as a terminal would: to all."""
    log = folder.parent / "log.txt"
    with open(log, "w") as stream:
        process = subprocess.Popen([".venv/bin/python", "-m", "dvc", "repro", stage], cwd=folder, env=environment(folder),
                                   stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))   # a shell's background job ignores it
    try:
        name = stage.split("@")[0]
        until(lambda: process.poll() is not None or list((folder / "build").glob(f".part-*{name}-*")), 300)
        time.sleep(5)
        assert process.poll() is None, log.read_text()
        os.killpg(process.pid, stop)
        process.wait(60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return log.read_text()


def until(true: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def working_in(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:   # gone, or somebody else's
            continue
    return found


def metrics(folder: Path) -> dict[str, dict[str, Any]]:
    """By notebook."""
    return {p.stem: json.loads(p.read_text()) for p in (folder / "reports" / "smoke" / "metrics").glob("*.json")}


def smoke(folder: Path) -> dict[str, Any]:
    """The tier's block."""
    return yaml.safe_load((folder / "params.yaml").read_text())["tier"]["smoke"]


def values(results: dict[str, Any]) -> Iterator[tuple[str, dict[str, float]]]:
    """Where every value stands, and the value with its interval."""
    for table, datasets in results.items():
        for dataset, networks in datasets.items():
            for network, rows in networks.items():
                for row, scores in rows.items():
                    for metric, value in scores.items():
                        yield f"{table} {dataset} {network} {row} {metric}", value


def changed(copy: Path) -> set[str]:
    """Stages that DVC would run because of what was edited."""
    return set(json.loads(python(copy, "-m", "dvc", "status", "--json").output.strip().splitlines()[-1]))


def descendants(copy: Path, stage: str) -> set[str]:
    """A stage and all that comes after it."""
    return set(re.findall(r"[Ss]tage '([^']+)'", dvc(copy, "repro", "--dry", "--downstream", stage).output))


def edit(path: Path, old: str, new: str) -> None:
    """Replace the one place that matches."""
    text = path.read_text(encoding="utf-8")
    assert len(re.findall(old, text, re.MULTILINE)) == 1, old
    path.write_text(re.sub(old, new, text, flags=re.MULTILINE), encoding="utf-8")
