"""Methods side by side."""

import pytest


def test_a_summary_uses_every_seed():
    from acs_fast.training import report, summarise

    def result(method, seed, clean, robust, seconds):
        return {
            "config": {"method": method, "seed": seed}, "test": {"best": {"clean": clean, "robust": robust}},
            "seconds": {"training": seconds, "selection": 1.0}, "gradient_error": None, "filled": 0, "backend": None,
        }  # fmt: skip

    rows = summarise([result("full", 0, 0.9, 0.5, 9.0), result("craig", 0, 0.8, 0.4, 1.0),
                      result("full", 1, 0.7, 0.3, 19.0), result("craig", 1, 0.8, 0.4, 2.0)])  # fmt: skip
    assert [r.method for r in rows] == ["full", "craig"]
    assert rows[0].clean == pytest.approx((80.0, 14.142), abs=1e-3)
    assert rows[1].speedup == pytest.approx(15.0 / 2.5)
    assert report.table(rows).splitlines()[2].startswith("full ")
