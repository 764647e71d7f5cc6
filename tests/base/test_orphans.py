"""Programs end when they are told to, with one sentence or none, and with all that they have started."""
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.base.paths import ROOT

VARIABLES = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])}


def heeding() -> None:
    """A shell's background job ignores Ctrl-C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(processes: list[int], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while any(map(alive, processes)):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


# A stage of DVC's: it tells its own number and those of two that it starts, and waits.
STAGE = """
import os, subprocess, sys, time
from lib.base.orphans import end_with_dvc
end_with_dvc()
inner = "import subprocess; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
child = subprocess.Popen([sys.executable, "-c", inner], stdout=subprocess.PIPE, text=True)
print(os.getpid(), child.pid, child.stdout.readline(), flush=True)
time.sleep(60)
"""
# What stands for DVC: it runs the stage by a shell, which takes the place of a single command only.
DVC = """
import subprocess, sys
subprocess.run(["sh", "-c", sys.argv[1]])
"""
REPRO = """
import subprocess, sys, os
from lib.base.orphans import WORKS_FOR
os.environ[WORKS_FOR] = str(os.getpid())
subprocess.run([sys.executable, "-c", sys.argv[2], sys.argv[1]])
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "stage.py"
    path.write_text(STAGE)
    yield f"{sys.executable} {path}"


@pytest.mark.parametrize("after", ["", "; true"])
@pytest.mark.parametrize("starter", [DVC, REPRO])
def test_a_stage_ends_with_dvc(stage: str, starter: str, after: str) -> None:
    program = [sys.executable, "-c", starter, stage + after, DVC]
    with subprocess.Popen(program, env={**VARIABLES, "DVC_STAGE": "x"}, stdout=subprocess.PIPE,
                          text=True) as dvc:
        processes = [int(word) for word in dvc.stdout.readline().split()]
        assert len(processes) == 3 and all(map(alive, processes))
        dvc.kill()
        assert gone(processes), "the stage outlives DVC"


def test_without_dvc_a_program_outlives_what_started_it(stage: str) -> None:
    variables = {name: value for name, value in VARIABLES.items() if name != "DVC_STAGE"}
    with subprocess.Popen([sys.executable, "-c", DVC, stage], env=variables, stdout=subprocess.PIPE,
                          text=True) as starter:
        processes = [int(word) for word in starter.stdout.readline().split()]
        starter.kill()
        assert not gone(processes, 2.5)
        for process in processes:
            os.kill(process, signal.SIGKILL)


# Programs that are told to stop

@pytest.mark.parametrize("program", ["lib", "lib.pipeline"])
@pytest.mark.parametrize("moment", ["argparse", "lib.base.shards", "lib.base.problem", "lib.params"])
def test_ctrl_c_while_all_is_imported_leaves_no_traceback(program: str, moment: str) -> None:
    """It comes when a certain module is about to be imported."""
    code = ("import os, runpy, signal, sys\n"
            "class Press:\n"
            "    def find_spec(self, name, *_):\n"
            f"        if name == {moment!r}:\n"
            "            os.kill(os.getpid(), signal.SIGINT)\n"
            "sys.modules.pop('argparse', None)\n"
            "sys.meta_path.insert(0, Press())\n"
            f"sys.argv = [{program!r}, 'source']\n"
            f"runpy.run_module({program!r}, run_name='__main__')\n")
    ended = subprocess.run([sys.executable, "-c", code], env=VARIABLES, cwd=ROOT, capture_output=True,
                           text=True, preexec_fn=heeding)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_is_one_sentence(by: signal.Signals) -> None:
    program = ("import sys, time\nfrom lib.base.problem import exit_status\n"
               "def work():\n    try:\n        print('begun', flush=True)\n        time.sleep(60)\n"
               "    finally:\n        print('put away', flush=True)\n"
               "sys.exit(exit_status(work, 'Interrupted; it goes on.'))\n")
    process = subprocess.Popen([sys.executable, "-c", program], env=VARIABLES, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, preexec_fn=heeding)
    process.stdout.readline()
    process.send_signal(by)
    printed, said = process.communicate(timeout=60)
    assert (process.returncode, printed, said) == (130, "put away\n", "Interrupted; it goes on.\n")


def test_handlers_are_as_they_were() -> None:
    from lib.base.problem import exit_status

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert exit_status(lambda: 3, "") == 3
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_ctrl_c_while_workers_start_is_one_sentence() -> None:
    """As a terminal sends it, to the whole group, from the moment on at which the first worker is there."""
    program = ("import os, signal, sys\nfrom lib.base import work\nfrom lib.base.problem import exit_status\n"
               "from works import pids\n"
               "def run():\n    next(work.each(pids, range(50), 'pids'))\n"
               "begin = work._pool\n"
               "def pressed(processes):\n    pool = begin(processes)\n    os.killpg(0, signal.SIGINT)\n"
               "    return pool\n"
               "work._pool = pressed\n"
               "sys.exit(exit_status(run, 'Interrupted; it goes on.'))\n")
    ended = subprocess.run([sys.executable, "-c", program], env={**VARIABLES, "JOBS": "2"},
                           capture_output=True, text=True, preexec_fn=heeding, start_new_session=True)
    assert (ended.returncode, ended.stderr) == (130, "Interrupted; it goes on.\n")
