"""The engine benchmark: every contender takes the same step, everything that can happen is a row."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from acs_fast.training.engine import Engine
from benchmarks import engine, engine_steps, engine_table, report, results_file
from benchmarks.engine_steps import CONTENDERS, Case, Contender, Trainer
from benchmarks.results_file import Row, Run

TINY = {c.objective: replace(c, side=16, batch=8) for c in engine.QUICK}
EAGER = [c for c in CONTENDERS if not c.engine.compile]


def attacked(trainer: Trainer) -> torch.Tensor:
    torch.manual_seed(0)
    return trainer.attack(trainer.model, trainer.x, trainer.y)


@pytest.mark.parametrize("objective", TINY)
@pytest.mark.parametrize("contender", EAGER, ids=lambda c: c.name)
def test_a_step_trains_and_the_attack_stays_in_its_ball(objective, contender):
    if contender.kind == "peer":
        pytest.importorskip("torchattacks")
    trainer = Trainer(TINY[objective], contender)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.step()
    assert all(not torch.equal(p, old) for p, old in zip(trainer.model.parameters(), before, strict=True))
    delta = attacked(trainer) - trainer.x
    assert trainer.gain() > 0.0
    assert 0.5 * engine_steps.ALPHA < float(delta.abs().max()) <= engine_steps.EPS + 1e-6


@pytest.mark.parametrize("objective", TINY)
def test_contenders_start_from_the_same_model_and_batch(objective):
    first, *others = (Trainer(TINY[objective], c) for c in EAGER if c.kind != "peer")
    for other in others:
        assert torch.equal(first.x, other.x)
        assert torch.equal(first.y, other.y)
        assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), other.model.parameters(), strict=True))


def test_a_contender_that_fails_is_a_row(monkeypatch):
    broken = Contender("broken", "broken", "nobody", Engine())
    rows = engine._race(Case("c", "c", "pgd", 4, 4, 8, 1), (CONTENDERS[0], broken), 2, 1)
    assert [row.status for row in rows] == ["ok", "failed"]
    assert "KeyError" in rows[1].reason
    assert len(rows[0].seconds) == 2


def run_of(*rows: Row) -> Run:
    case = {"name": "engine-pgd", "title": "PGD", "size": "small"}
    place = {"cpu": "Test CPU", "simd": "AVX", "cores": 2, "memory_gib": 8, "gpu": None}
    commit = {"sha": "abc", "date": "2026-01-01", "dirty": False}
    return Run("cpu", "2026-01-02T00:00:00+00:00", False, 2, place, {"torch": "2"}, commit, [case], rows=list(rows),
               finished=["engine-pgd"], complete=True)  # fmt: skip


def row(name: str, seconds: float) -> Row:
    return Row("engine-pgd", name, name, "ours", "ok", [seconds] * 3, 2**20, {"gain": 0.5})


def test_bars_compare_medians_with_the_published_loop():
    run = run_of(row("published", 2.0), row("ours", 1.25), row("ours-channels-last", 1.25))
    found = engine_table.verdicts(run)
    assert [v.met for v in found] == [True, False, None]
    assert found[0].found == "1.60 times"
    assert {v.met for v in engine_table.verdicts(run_of(row("ours", 1.0)))} == {None}


def test_report_publishes_the_section(tmp_path):
    run = run_of(row("published", 2.0), row("ours", 1.25))
    run.write(tmp_path / "results" / "engine" / "a.json")
    readme = tmp_path / "README.md"
    readme.write_text("<!-- benchmarks:engine -->\n<!-- /benchmarks:engine -->\n")
    assert report.main(["--results", str(tmp_path / "results"), "--readme", str(readme)]) == 0
    assert "| ours | 1.25 (1.25 to 1.25) | 3 | 1.60 | 1 | 0.500 |" in readme.read_text()
    assert results_file.read(tmp_path / "results" / "engine" / "a.json").rows[0].peak_bytes == 2**20
