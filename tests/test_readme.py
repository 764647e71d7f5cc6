"""The front page: its example runs as it stands, and what it points to is there."""
import re
from pathlib import Path

import pytest
from PIL import Image

from lib.base.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
LONGEST = 160     # lines
HEADLINE = 25     # lines


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example, = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    Image.effect_mandelbrot((70, 50), (-2, -1, 1, 1), 50).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    heat = names["found"].heat
    assert heat.shape[0] == 1 and 0 <= float(heat.min()) < float(heat.max()) <= 1


def test_it_is_short() -> None:
    assert README.count("\n") <= LONGEST
    headline, = re.findall(r"<!-- headline:begin .*?-->(.*?)<!-- headline:end -->", README, re.DOTALL)
    assert headline.strip().count("\n") < HEADLINE


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_what_it_points_to_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (ROOT / target).exists(), target
    for path in re.findall(r"`((?:lib|tests|notebooks|reports)/[\w./]+)`", text):
        is_example = "scorecam" in path or path.endswith("/")
        assert is_example or (ROOT / path).exists(), path
