"""Work that is measured in a process of its own, so that its time and memory are its own."""
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from lib.paths import ROOT
from lib.problem import Problem


def answer_of(module: str, words: Sequence[str], what: str) -> Any:
    """The JSON in the last line that `python -m MODULE WORDS` prints; `what` begins the sentence about a failure."""
    done = subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}, perhaps for want of memory"]
        raise Problem(f"{what}: {said[-1]}")
    return json.loads(done.stdout.splitlines()[-1])
