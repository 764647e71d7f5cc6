"""Work on many items: the same results by any number of processes, and one sentence about what went wrong."""
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sentences import is_one_sentence
from works import dies_once, nested, pids, poison, squares, sums, unmakeable

from lib.base import work
from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.base.work import Failed, each, jobs


@pytest.fixture(autouse=True)
def no_pool_is_left() -> Iterator[None]:
    yield
    work._end_pool()


@pytest.fixture(params=["1", "2"])
def processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("JOBS", request.param)
    return request.param


def test_results_come_in_the_order_of_the_items(processes: str) -> None:
    assert list(each(squares, range(40), "squares")) == [number * number for number in range(40)]
    assert list(each(squares, [], "squares")) == []


def test_processes_share_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS", "2")
    ids = list(each(pids, range(6), "pids"))
    assert len(set(ids)) == 2 and os.getpid() not in ids
    assert set(each(pids, range(4), "pids")) == set(ids)   # the same processes go on


def test_values_do_not_depend_on_the_number_of_processes(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = {}
    for number in ("1", "2"):
        monkeypatch.setenv("JOBS", number)
        results[number] = list(each(partial(sums, tmp_path / number), range(6), "sums"))
    assert results["1"] == results["2"]
    assert (tmp_path / "1").read_text().count("made") == 1
    assert (tmp_path / "2").read_text().count("made") <= 2


def test_a_failure_does_not_keep_the_others_from_being_done(
        processes: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = []
    with pytest.raises(Problem) as caught:
        for result in each(partial(poison, {3: "sentence", 5: "fault"}), range(8), "poison"):
            done.append(result)
    assert done == [0, 1, 2, 4, 6, 7]
    assert str(caught.value).startswith("poison: 2 of 8 failed, all others are done")
    assert "3: image 3 cannot be decoded" in str(caught.value) and "no such thing" in str(caught.value)
    assert "in do" in str(caught.value.__cause__)   # where the fault is
    assert "poison: 5: ValueError: no such thing" in capsys.readouterr().err


def test_what_cannot_be_made_is_told_in_its_own_words(processes: str) -> None:
    with pytest.raises(Problem, match="train it first"):
        list(each(unmakeable, range(3), "making"))


def test_a_killed_process_is_one_sentence_and_the_next_call_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS", "2")
    with pytest.raises(Problem) as caught:
        list(each(partial(poison, {2: "death"}), range(8), "deadly"))
    assert is_one_sentence(str(caught.value)) and "a process was killed" in str(caught.value)
    assert list(each(squares, range(3), "squares")) == [0, 1, 4]


def test_a_consumer_may_stop_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS", "2")
    assert next(iter(each(squares, range(1000), "squares"))) == 0


def test_work_within_work_is_not_shared_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS", "2")
    assert list(each(nested, range(3), "nested")) == [1, 1, 1]


@pytest.mark.parametrize("word", ["0", "-1", "two", "1.5"])
def test_a_number_of_jobs_that_cannot_be(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS", word)
    with pytest.raises(Problem, match="JOBS: must be a whole number of at least 1"):
        jobs()


def test_the_cores_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOBS", raising=False)
    assert jobs() == len(os.sched_getaffinity(0))


def test_workers_go_when_their_parent_is_killed() -> None:
    program = ("from works import pids\nfrom lib.base.work import each\nimport os, signal\n"
               "ids = set(each(pids, range(4), 'pids'))\nprint(*ids, flush=True)\n"
               "os.kill(os.getpid(), signal.SIGKILL)\n")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                           env={**os.environ, "PYTHONPATH": path, "JOBS": "2"})
    ids = [int(word) for word in ended.stdout.split()]
    assert len(ids) == 2, ended.stderr
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in ids):
        assert time.monotonic() < end, "workers outlive their parent"
        time.sleep(0.1)


# A cluster

def test_a_cluster_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER", "tcp://127.0.0.1:9")
    monkeypatch.setattr("lib.base.cluster.SECONDS", 1)
    with pytest.raises(Problem, match="no Dask scheduler answers at") as caught:
        list(each(squares, range(3), "squares"))
    assert is_one_sentence(str(caught.value))


def test_a_cluster_gives_the_same_results_though_a_worker_is_killed(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    helpers = str(ROOT / "tests" / "helpers")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), helpers]))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True,
                                  dashboard_address=None) as cluster:
        monkeypatch.setenv("CLUSTER", cluster.scheduler_address)
        note = tmp_path / "killed"
        there = list(each(partial(dies_once, note, 7), range(20), "squares"))
        assert there == [number * number for number in range(20)] and note.exists()
        monkeypatch.delenv("CLUSTER")
        monkeypatch.setenv("JOBS", "1")
        here = list(each(partial(sums, tmp_path / "here"), range(4), "sums"))
        monkeypatch.setenv("CLUSTER", cluster.scheduler_address)
        assert list(each(partial(sums, tmp_path / "there"), range(4), "sums")) == here
        with pytest.raises(Problem, match="1 of 5 failed, all others are done"):
            list(each(partial(poison, {3: "sentence"}), range(5), "poison"))


def test_a_failure_is_named_by_what_people_know_an_item_by() -> None:
    assert work._name(Path("photos/cat.jpg")) == "cat.jpg"
    assert work._name(3) == "3" and Failed("why").trace == ""


def test_work_can_be_kept_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS", "2")
    monkeypatch.setenv("CLUSTER", "tcp://127.0.0.1:9")
    with work.in_this_process():
        assert set(each(pids, range(3), "pids")) == {os.getpid()}
    assert os.environ["JOBS"] == "2" and os.environ["CLUSTER"] == "tcp://127.0.0.1:9"
