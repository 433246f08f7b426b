"""The process of an opponent: whatever it raises is an answer."""

from __future__ import annotations

import pytest
import torch

from acs_fast.benchmark import OPPONENTS, Opponent, worker
from tests.benchmark.tiny import TINY


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError("no"), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (ValueError("wrong"), "failed"),
    ],
)
def test_whatever_an_opponent_raises_is_an_answer(monkeypatch, error, status):
    def raising(_: object) -> None:
        raise error

    monkeypatch.setattr(Opponent, "solver", lambda self, task: raising)
    sent, inbox = [], ["run"]

    class Pipe:
        send = staticmethod(sent.append)

        @staticmethod
        def recv() -> str:
            return inbox.pop(0)

    worker.serve(Pipe(), TINY, OPPONENTS["ours-reference"], "cpu")
    assert sent[-1]["status"] == status
