"""Stages beside each other: what may begin when, and what a failure keeps from running."""
import threading
import time
from pathlib import Path

import pytest

from lib.pipeline import side_by_side
from lib.pipeline.side_by_side import Ended, Queue, run

# Two trainings, a stage that reads both, one that reads the first, and the report of all.
BEFORE = {"source": set(), "data@t": {"source"}, "a@t": {"source", "data@t"}, "b@t": {"source", "data@t"},
          "both@t": {"a@t", "b@t", "source"}, "one@t": {"a@t", "source"}, "report@t": {"both@t", "one@t"}}


def queue(seconds: dict[str, float]) -> Queue:
    known = {stage: seconds.get(stage, 1.0) for stage in BEFORE}
    return Queue(dict(BEFORE), side_by_side._urgency(BEFORE, known))


def test_urgency_is_the_longest_way_to_the_end() -> None:
    urgency = queue({"b@t": 10, "one@t": 5}).urgency
    assert urgency == {"report@t": 1, "one@t": 6, "both@t": 2, "a@t": 7, "b@t": 12, "data@t": 13,
                       "source": 14}


def test_a_stage_begins_when_what_it_reads_is_there_the_most_urgent_first() -> None:
    waiting = queue({"b@t": 10})
    assert waiting.ready() == ["source"]
    for stage in ("source", "data@t"):
        waiting.ended[stage] = Ended(stage, 0, "", 1)
    assert waiting.ready() == ["b@t", "a@t"]
    waiting.running.add("b@t")
    assert waiting.ready() == ["a@t"]
    waiting.ended["a@t"] = Ended("a@t", 0, "", 1)
    assert waiting.ready() == ["one@t"]


class Stages:
    """Stages that only take notes of when they ran, and with how many processes."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.began: list[str] = []
        self.jobs: dict[str, int] = {}
        self.running = 0
        self.most = 0
        self.lock = threading.Lock()

    def __call__(self, stage: str, jobs: int, root: Path, say: side_by_side.Say) -> Ended:
        with self.lock:
            self.began.append(stage)
            self.jobs[stage] = jobs
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(0.05)
        with self.lock:
            self.running -= 1
        status = int(stage == self.failing)
        return Ended(stage, status, "" if stage == "data@t" else f"Running stage '{stage}':\n", 2.0)


def ran(monkeypatch: pytest.MonkeyPatch, stages: Stages, said: list[str]) -> dict[str, int]:
    monkeypatch.setattr(side_by_side, "_queue", lambda tiers, root: queue({"b@t": 10}))
    monkeypatch.setattr(side_by_side, "_run_stage", stages)
    return {ended.stage: ended.status for ended in run(["t"], 8, say=said.append)}


def test_all_stages_run_two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stages, said = Stages(), []
    assert ran(monkeypatch, stages, said) == dict.fromkeys(BEFORE, 0)
    assert stages.most == 2
    assert stages.began[:2] == ["source", "data@t"] and stages.began[-1] == "report@t"
    assert set(stages.began[2:4]) == {"a@t", "b@t"}
    assert stages.jobs["source"] == stages.jobs["report@t"] == 8   # nothing else could run beside them
    assert stages.jobs["a@t"] == stages.jobs["b@t"] == 4
    assert said[0] == "[1/7] source: done in 2 s"
    assert said[1] == "[2/7] data@t: up to date"
    assert said[-1] == "[7/7] report@t: done in 2 s"


def test_a_failure_keeps_from_running_what_waits_for_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stages, said = Stages(failing="b@t"), []
    statuses = ran(monkeypatch, stages, said)
    assert statuses == {"source": 0, "data@t": 0, "a@t": 0, "b@t": 1, "one@t": 0}
    assert any(line.startswith("[") and "b@t: failed" in line for line in said)


def test_the_stages_of_a_tier_wait_for_what_they_read() -> None:
    waiting = side_by_side._queue(["smoke", "collage"], side_by_side.ROOT)
    assert waiting.before["data@smoke"] == {"source"}
    assert waiting.before["iam_train@collage"] == {"source", "data@collage", "proposals@collage"}
    assert "report@smoke" in waiting.before["report@collage"]   # both write the front page
    assert "report@collage" not in waiting.before["report@smoke"]


def test_dvcs_advice_is_left_out() -> None:
    lines = ["Running stage 'rcam@smoke':\n", "> .venv/bin/python -m lib.pipeline run rcam smoke\n",
             "rcam.ipynb: failed, nothing is published\n", "Use `dvc push` to send your updates\n"]
    kept = [line for line in lines if not side_by_side._is_chatter(line)]
    assert kept == ["rcam.ipynb: failed, nothing is published\n"]
