import pytest

from lib.base.paths import REPORTS, ROOT
from lib.report.readme import BEGIN, is_current


def test_the_readme_says_what_the_results_say() -> None:
    readme = ROOT / "README.md"
    if not readme.is_file() or BEGIN not in readme.read_text(encoding="utf-8"):
        pytest.skip("README.md has no markers for the generated results yet")
    assert is_current(readme, REPORTS), "README.md is stale: run the report stage"
