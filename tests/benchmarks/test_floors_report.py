"""Floors of the CPU kernels in the report."""

import json

from benchmarks import RESULTS, floors_report


def test_the_newest_file_of_each_kind_is_told(tmp_path):
    folder = RESULTS / "ops" / "floors"
    for path in folder.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    newer = json.loads(max(folder.glob("*-matching.json")).read_text())
    small, large = newer["rows"]
    small["floor"]["floor"], small["over_floor"], large["over_floor"] = 0.0125, 3.71, 12.34
    small["group_over_floor"], large["group_over_floor"] = 1.92, 2.04
    small["core_seconds"].pop("open atoms", None)  # no sample of it
    (tmp_path / "99990101-000000-matching.json").write_text(json.dumps(newer))
    text = floors_report.section(tmp_path)
    assert "| **floor** | 12.5 ms |" in text
    assert "| **today over floor** | 3.7 | 12.3 |" in text
    assert "| **one of 10 groups side by side**, over floor | 1.9 | 2.0 |" in text
    assert "| of two cores: open atoms | 0 ms |" in text
    assert "| 40,000 |" in text
    assert text.count(f"at commit {newer['commit']['sha']}") == 1


def test_nothing_is_told_of_nothing(tmp_path):
    assert floors_report.section(tmp_path) == ""
