"""`python -m benchmarks.processes ORDER`: one process of an opponent, started by `Ranks`."""

from __future__ import annotations

import gc
import json
import os
import sys
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from acs_fast._util.exchange import Exchange
from acs_fast.benchmark import worker
from benchmarks.processes import work
from benchmarks.processes.ranks import Order

TIMEOUT = timedelta(seconds=60)


def serve(order: Order) -> None:
    """Do as told until standard input ends; every answer is a line of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    torch.set_num_threads(order.threads)
    if order.group:
        dist.init_process_group("gloo", f"file://{order.store}", TIMEOUT, order.ranks, order.rank)
    exchange = Exchange()
    job = work.WORK[order.work](order, exchange)
    gc.collect()
    gc.freeze()

    def run() -> Any:
        if order.group:
            dist.barrier()
        return job()

    answer: Any = None
    reply: dict[str, Any] = {"ready": True}
    while True:
        print(json.dumps(reply), file=answers, flush=True)
        command = sys.stdin.readline().strip()
        if not command:
            break
        if command == "run":
            answer = None
            answer, reply = worker.measured(run, "cpu")
        else:
            reply = work.worth(answer, exchange)
    if order.group:
        dist.destroy_process_group()


if __name__ == "__main__":
    serve(Order(**json.loads(sys.argv[1])))
