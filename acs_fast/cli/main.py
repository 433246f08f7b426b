"""Entry point of `acs-fast`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import acs_fast
from acs_fast.cli import bench, doctor, evaluate, export, select, train

COMMANDS = {
    "train": train, "evaluate": evaluate, "export": export, "select": select, "bench": bench, "doctor": doctor,
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run a subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="acs-fast", description=acs_fast.__doc__)
    parser.add_argument("--version", action="version", version=acs_fast.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        sub = commands.add_parser(name, help=(module.__doc__ or "").strip().splitlines()[0], description=module.__doc__)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return train.INTERRUPTED
    except (ValueError, TypeError, RuntimeError, OSError, FloatingPointError) as error:
        print(f"acs-fast {arguments.command}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
