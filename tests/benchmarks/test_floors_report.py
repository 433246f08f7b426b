"""Floors of the CPU kernels in the report."""

import json

from benchmarks import RESULTS, floors_report


def test_the_newest_file_of_each_kind_is_told(tmp_path):
    folder = RESULTS / "ops" / "floors"
    for path in folder.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    newer = json.loads(next(folder.glob("*-matching.json")).read_text())
    newer["rows"][0]["floor"]["floor"], newer["rows"][1]["over_floor"] = 0.0125, 12.34
    (tmp_path / "99990101-000000-matching.json").write_text(json.dumps(newer))
    text = floors_report.section(tmp_path)
    assert "| **floor** | 12.5 ms |" in text
    assert "| **today over floor** | 3.7 | 12.3 |" in text
    assert "| 40,000 |" in text
    assert text.count(f"at commit {newer['commit']['sha']}") == 1


def test_nothing_is_told_of_nothing(tmp_path):
    assert floors_report.section(tmp_path) == ""
