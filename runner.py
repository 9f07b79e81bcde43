"""Temper's command line: ``python runner.py experiment.yaml``."""

import signal
import sys

if __name__ == "__main__":
    # Until everything is imported there is nothing to keep: Ctrl-C ends the process without a traceback.
    interrupts = signal.getsignal(signal.SIGINT)
    if interrupts is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from core.cli import program

    signal.signal(signal.SIGINT, interrupts)
    sys.exit(program(sys.argv[1:]))
