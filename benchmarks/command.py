"""What `acs-fast bench` does: tests, cases, results file, table."""

from __future__ import annotations

import argparse
import sys

import torch

from benchmarks import cases, report, runner


def run(args: argparse.Namespace) -> int:
    try:
        chosen = cases.select(args.case, args.quick)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if args.list:
        print("\n".join(f"{case.name:20} {case.title}: {case.size}" for case in chosen))
        return 0
    if args.device == "cuda" and not torch.cuda.is_available():
        print("--device cuda: torch finds no CUDA device", file=sys.stderr)
        return 2
    if args.repeat < 1:
        print(f"--repeat must be at least 1; got {args.repeat}", file=sys.stderr)
        return 2
    tests = runner.tests_pass(args.tests, args.device)
    if tests is None:
        return 1
    path = args.output or runner.default_path(args.device, args.quick)
    try:
        done = runner.execute(chosen, args.device, args.repeat, args.quick, tests, path)
    except KeyboardInterrupt:
        print(f"interrupted; the rows so far are in {path}", file=sys.stderr)
        return 130
    print(report.tables([done]))
    return 0
