"""The log of a worker: its output, and a traceback if it crashes."""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path

from temper.core.cluster import LOG, LOGS


def redirect_output() -> None:
    """Redirect this process's output to a file in ``TEMPER_LOGS``, if set, and let crashes write a traceback."""
    if folder := os.environ.get(LOGS):
        path = Path(folder) / f"{os.getpid()}.log"
        with path.open("ab") as log:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for descriptor in (1, 2):  # native libraries bypass sys.stdout and sys.stderr
                os.dup2(log.fileno(), descriptor)
        os.environ[LOG] = str(path)
    faulthandler.enable(2, all_threads=False)
