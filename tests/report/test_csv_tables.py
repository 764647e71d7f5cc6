"""Tables as plain files."""
from pathlib import Path

from lib.report.csv_tables import write_tables
from lib.report.paper import Papers


def test_one_line_a_value_with_the_papers(tmp_path: Path, papers: Papers) -> None:
    rows = {"rcam": {"ods": {"mean": 0.7, "low": 0.6, "high": 0.8}},
            "extra": {"ods": {"mean": 0.1, "low": 0.0, "high": 0.2}}}
    write_tables(tmp_path, {"rcam": {"results": {"table1": {"pascal_s": {"net": rows}}}}}, papers)
    lines = (tmp_path / "rcam-table1.csv").read_text().splitlines()
    assert lines == ["dataset,network,row,metric,mean,low,high,paper",
                     "pascal_s,net,rcam,ods,0.7,0.6,0.8,0.665", "pascal_s,net,extra,ods,0.1,0.0,0.2,"]
