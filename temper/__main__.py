"""``python -m temper experiment.yaml``: the same as the command ``temper``."""

import sys

from temper.engine.command_line.entry import command

if __name__ == "__main__":
    sys.exit(command())
