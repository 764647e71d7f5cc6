"""`make repro`: check the parameters, run what is not up to date, say what was reproduced."""
import re
import subprocess
import sys

from lib.files import whole_file
from lib.params import load_params
from lib.paths import ROOT
from lib.pipeline.stages import check_sources


def repro(tiers: list[str], mirror: str | None) -> int:
    """The exit status of `dvc repro`, else of the comparison with the committed results (3: something changed)."""
    from lib.report.compare import print_comparison

    if mirror:
        set_parameter("mirror", mirror)
    if tiers:
        set_parameter("tiers", f"[{', '.join(tiers)}]")
    params = load_params()
    check_sources(params, params.tiers)
    status = subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=ROOT).returncode
    return status or print_comparison(params.tiers)


def set_parameter(key: str, value: str) -> None:
    """Change one top-level value of params.yaml in place, its comment kept; only valid parameters are written."""
    path = ROOT / "params.yaml"
    text = path.read_text(encoding="utf-8")
    changed = re.sub(rf"^({key}:\s*)(\[.*?\]|[^#\n]*?)(\s*(#.*)?)$", lambda m: m[1] + value + m[3], text, count=1, flags=re.MULTILINE)
    if changed == text:
        return
    with whole_file(path) as part:
        part.write_text(changed, encoding="utf-8")
        load_params(part)
