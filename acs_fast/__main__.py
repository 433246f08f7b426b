"""Run the command line as `python -m acs_fast`, and so under torchrun."""

import sys

from acs_fast.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
