"""`make repro`: check the parameters, run what is not up to date, say what was reproduced."""
import re
import subprocess
import sys

import yaml

from lib.base.files import whole_file
from lib.base.paths import ROOT
from lib.base.problem import Problem
from lib.params import load_params
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
    status = subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=ROOT).returncode
    return status or print_comparison(params.tiers)


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
