"""A worker's output, where no batch system records it."""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path

from temper.core.cluster import LOG, LOGS


def keep_log() -> None:
    """Write a traceback if this process crashes; with ``TEMPER_LOGS``, that and all its output go to a file there."""
    if folder := os.environ.get(LOGS):
        path = Path(folder) / f"{os.getpid()}.log"
        with path.open("ab") as log:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for descriptor in (1, 2):  # libraries write there without asking Python
                os.dup2(log.fileno(), descriptor)
        os.environ[LOG] = str(path)
    faulthandler.enable(2, all_threads=False)
