"""`make repro`: check the parameters, run what is not up to date, say what was reproduced."""
import os
import re
import subprocess
import sys

import yaml

from lib.base.environment import environment
from lib.base.files import whole_file
from lib.base.orphans import WORKS_FOR
from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.base.work import jobs
from lib.params import load_params
from lib.pipeline import side_by_side
from lib.pipeline.stages import check_sources

# A list, a quoted word, or all that is there.
VALUE = r"""\[.*?\]|"(?:[^"\\\n]|\\.)*"|'(?:[^'\n]|'')*'|[^#\n]*?"""


def repro(tiers: list[str], mirror: str | None) -> int:
    """The exit status of `dvc repro`, else of the comparison with the committed results (3: some changed)."""
    from lib.report.compare import print_comparison

    if mirror:
        set_parameter("mirror", _as_yaml(mirror))
    if tiers:
        set_parameter("tiers", f"[{', '.join(tiers)}]")
    params = load_params()
    check_sources(params, params.tiers)
    with environment({WORKS_FOR: str(os.getpid())}):   # stages do not go on when this is killed
        status = _run_all(params.tiers)
    return status or print_comparison(params.tiers)


def _run_all(tiers: list[str]) -> int:
    """DVC's exit status. Stages run beside each other first; DVC's own run then finds nothing left to do."""
    if jobs() > 1 and not _is_up_to_date():
        failed = [run.stage for run in side_by_side.run(tiers, jobs(), say=_say) if run.status]
        if failed:
            raise Problem(f"make repro: {', '.join(failed)} failed, see above; what does not wait for that "
                          "was run, and another call goes on from there.")
    return subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=ROOT).returncode


def _is_up_to_date() -> bool:
    """Whether nothing at all is to be done, which DVC says in a moment."""
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return said.returncode == 0 and said.stdout.strip().endswith("{}")


def _say(line: str) -> None:
    print(line, flush=True)


def set_parameter(key: str, value: str) -> None:
    """Change a top-level value of params.yaml in place, its comment kept; only what is valid is written."""
    path = ROOT / "params.yaml"
    text = path.read_text(encoding="utf-8")
    line = re.compile(rf"^({key}: *)({VALUE})( *(#.*)?)$", re.MULTILINE)
    changed, count = line.subn(lambda match: match[1] + value + match[3], text, count=1)
    if not count:
        raise Problem(f'params.yaml: there is no line "{key}: ..." with a plain value; '
                      f'write "{key}: {value}" there.')
    if changed == text:
        return
    with whole_file(path) as part:
        part.write_text(changed, encoding="utf-8")
        load_params(part)


def _as_yaml(word: str) -> str:
    """A word as YAML writes it, quoted where it must be."""
    in_a_list = yaml.safe_dump([word], default_flow_style=True, width=10_000)
    return in_a_list[1:-2]
