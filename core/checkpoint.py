"""Checkpoints: what a long work has done so far, so that a kill costs minutes and not hours."""

from __future__ import annotations

import json
import shutil
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import stop
from core.files import beside

INTERVAL = 60.0
"""Seconds of work that a kill may cost."""
_META = "_meta"
_STATE = "state.npz"

State = tuple[dict[str, NDArray[Any]], dict[str, Any]]
"""Arrays by name, and plain JSON values."""


class Checkpoint:
    """The state of one work, replaced as a whole each time, so that a kill at any moment leaves the last or the one before.

    A work that takes minutes asks ``due`` between its steps, saves all that it needs to go on, and calls ``load`` as it
    begins. What it makes must not depend on whether it was interrupted. Without a folder nothing is kept.
    """

    def __init__(self, folder: Path | None = None, interval: float = INTERVAL) -> None:
        self._folder, self._interval = folder, interval
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        passed = time.monotonic() - self._last >= self._interval
        return self._folder is not None and (passed or stop.requested())

    def save(self, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
        """Keep the state in place of the last one.

        Raises:
            Stopped: the process has been asked to stop; the work goes on from here another time.
        """
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        stored: dict[str, Any] = {_META: np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays}
        temporary = beside(self._folder / _STATE)
        try:
            with temporary.open("wb") as stream:
                np.savez(stream, **stored)
            temporary.replace(self._folder / _STATE)
        finally:
            temporary.unlink(missing_ok=True)
        self._last = time.monotonic()
        if stop.requested():
            raise stop.Stopped

    def load(self) -> State | None:
        """Return the state that was saved last, ``None`` if there is none or it cannot be read."""
        if self._folder is None:
            return None
        try:
            with (self._folder / _STATE).open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            meta: dict[str, Any] = json.loads(arrays.pop(_META).tobytes())
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        return arrays, meta

    def drop(self) -> None:
        """Forget the state."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
