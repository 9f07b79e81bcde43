"""The entry point of the command ``temper``, of ``python -m temper`` and of ``runner.py``."""

from __future__ import annotations

import signal
import sys


def command() -> int:
    """Run the command line of this process and return its exit code."""
    # Nothing needs to be saved during imports: Ctrl-C ends the process without a traceback.
    interrupts = signal.getsignal(signal.SIGINT)
    if interrupts is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from temper.engine.command_line.main import program

    signal.signal(signal.SIGINT, interrupts)
    return program(sys.argv[1:])
