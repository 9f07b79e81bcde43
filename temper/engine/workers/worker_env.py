"""The environment variables that the workers of a run start with."""

from __future__ import annotations

import os
import re
from pathlib import Path

from temper.core.cluster import WorkerEnv
from temper.engine.storage.provenance import shared_environment
from temper.system.installation import search_path

FOLDER = ".dask"
"""The folder of the store for the workers' files other than artefacts."""

_DATA = "TEMPER_DATA"
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    # Dask would pause or kill a worker that uses much memory, and so stall the run: it cannot spill a stage's memory.
    "DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "False",
}


def worker_env(root: Path) -> WorkerEnv:
    """Return the environment of workers whose store is at ``root``."""
    searched = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    # A job may start in another folder than the runner's, so paths are absolute.
    path = os.pathsep.join([*search_path(), *(str(Path(folder).resolve()) for folder in searched)])
    settings = {name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()}
    # A job script would run a name that is not a shell identifier as a command.
    named = {name: value for name, value in os.environ.items() if re.fullmatch(r"TEMPER_\w+", name, re.ASCII)}
    if _DATA in named:
        named[_DATA] = str(Path(named[_DATA]).resolve())
    return WorkerEnv(root.resolve() / FOLDER, {**named, **shared_environment(), **settings, "PYTHONPATH": path})
