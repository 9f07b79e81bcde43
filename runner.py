"""Temper's command line in a checkout: ``python runner.py experiment.yaml``."""

import sys

from temper.engine.command_line.entry import command

if __name__ == "__main__":
    sys.exit(command())
