"""What a worker says, where no batch system writes it down."""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path

from temper.core.cluster import LOG, LOGS


def keep_log() -> None:
    """Write where this process crashes, if it does; with ``TEMPER_LOGS``, that and all it says goes to a file there."""
    if folder := os.environ.get(LOGS):
        path = Path(folder) / f"{os.getpid()}.log"
        with path.open("ab") as log:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for descriptor in (1, 2):  # libraries write there without asking Python
                os.dup2(log.fileno(), descriptor)
        os.environ[LOG] = str(path)
    faulthandler.enable(2, all_threads=False)
