"""Temper's command line: ``python runner.py experiment.yaml``."""

import sys

from core.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
