"""The GPU's section of the report."""

import json

from benchmarks.gpu import predictions, report
from benchmarks.gpu.work import PUBLIC
from tests.benchmarks.gpu.results import result


def test_the_table_is_what_the_results_say(tmp_path):
    assert report.section(tmp_path) == ""
    result().write(tmp_path / "gpu.json")
    (tmp_path / "gpu-steps.json").write_text(json.dumps([{"name": "tests", "status": "failed", "seconds": 1.0}]))
    text = report.section(tmp_path)
    guess = {stage: f"{1e3 * seconds:.2f}" for stage, seconds in predictions.load()["craig-cifar10"].items()}
    assert f"| craig-cifar10 | public call | 5.00 | {guess[PUBLIC]} | 10.00 | 9.40 to 11.20 | 2.0 | 25 |" in text
    assert f"| craig-cifar10 | operator | 5.00 | {guess['operator']} | 8.00 |" in text
    assert "| craig-global | greedy | 5.00 | 209.60 | 200.00 | 188.00 to 224.00 | 40.0 | 250 |" in text
    assert (
        "CRAIG, one problem of 50,000, 30 % (greedy, after the distances) | at most 250 ms | 200.00 ms | yes |" in text
    )
    assert "tests failed" in text
