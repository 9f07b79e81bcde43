"""Checkpoints: the saved progress of a long task, so that a kill costs minutes and not hours."""

from __future__ import annotations

import json
import shutil
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from temper.system import stop_request
from temper.system.files import replacing

INTERVAL = 60.0
"""Seconds between saves: the most work that a kill may cost."""
_META, _ATTACHED = "_meta", "_attached"
_STATE = "state.npz"

State = tuple[dict[str, NDArray[Any]], dict[str, Any]]
"""Arrays by name, and plain JSON values."""


class AttachedState(Protocol):
    """State saved along with that of any task, unknown to the task itself, such as its cost so far."""

    def state(self) -> Mapping[str, Any]:
        """Return what ``restore`` needs, as plain JSON values."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""


class Checkpoint:
    """The state of one task, replaced atomically: a kill at any moment leaves the last state or the one before.

    A task that takes minutes checks ``due`` between its steps, saves all it needs to resume, and calls ``load`` when it
    starts. Its result must not depend on interruptions. Without a folder nothing is saved.

    Attributes:
        carried: what is saved and restored along with each state.
    """

    def __init__(self, folder: Path | None = None, interval: float = INTERVAL) -> None:
        self._folder, self._interval = folder, interval
        self.attached: AttachedState | None = None
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        passed = time.monotonic() - self._last >= self._interval
        return self._folder is not None and (passed or stop_request.requested())

    def save(self, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
        """Save the state in place of the last one.

        Raises:
            Stopped: the process was asked to stop; the task resumes from here later.
        """
        if self._folder is None:
            return
        attached = self.attached.state() if self.attached else {}
        stored: dict[str, Any] = {_META: _as_array(meta), _ATTACHED: _as_array(attached), **arrays}
        # Replaced atomically: a kill while saving leaves the last state.
        with replacing(self._folder / _STATE) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **stored)
        self._last = time.monotonic()
        if stop_request.requested():
            raise stop_request.Stopped

    def load(self) -> State | None:
        """Return the last saved state, ``None`` if there is none or it cannot be read."""
        if self._folder is None:
            return None
        try:
            with (self._folder / _STATE).open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            meta, attached = (json.loads(arrays.pop(name).tobytes()) for name in (_META, _ATTACHED))
        # A state that a killed process left half-written costs time only, so it is no error.
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        if self.attached and attached:
            self.attached.restore(attached)
        return arrays, meta

    def drop(self) -> None:
        """Delete the state."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


class Steps:
    """The checkpoint of a task of several long steps: the finished ones and the state of the current one.

    Each time the task starts, it calls ``finished`` for each step and computes those that are not, each with its own
    checkpoint from ``in_progress``.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._finished: dict[str, State] = {}
        self._current: tuple[str, State] | None = None
        if (saved := checkpoint.load()) is not None:
            arrays, meta = saved
            self._finished = {name: (with_prefix(arrays, name), plain) for name, plain in meta["finished"].items()}
            for name, plain in meta["in_progress"].items():
                self._current = name, (with_prefix(arrays, name), plain)

    def finished(self, name: str) -> State | None:
        """Return the result of a step, ``None`` if it is not finished."""
        return self._finished.get(name)

    def finish(self, name: str, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
        """Record the result of a step; save it when due.

        Raises:
            Stopped: the process was asked to stop.
        """
        self._finished[name], self._current = (dict(arrays), dict(meta)), None
        if self._checkpoint.due:
            self._save({})

    def in_progress(self, name: str) -> Checkpoint:
        """Return a checkpoint for one step; its state is saved together with the finished steps."""
        return _StepCheckpoint(self, name)

    def _save(self, in_progress: Mapping[str, State]) -> None:
        states = {**self._finished, **in_progress}
        arrays = {f"{name}.{key}": array for name, (own, _) in states.items() for key, array in own.items()}
        plain = [{name: meta for name, (_, meta) in part.items()} for part in (self._finished, in_progress)]
        self._checkpoint.save(arrays, {"finished": plain[0], "in_progress": plain[1]})


class _StepCheckpoint(Checkpoint):
    """The checkpoint of one step of a task."""

    def __init__(self, steps: Steps, name: str) -> None:
        super().__init__()
        self._steps, self._name = steps, name

    @property
    def due(self) -> bool:
        return self._steps._checkpoint.due

    def save(self, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
        self._steps._save({self._name: (dict(arrays), dict(meta))})

    def load(self) -> State | None:
        current = self._steps._current
        return current[1] if current is not None and current[0] == self._name else None


def _as_array(plain: Mapping[str, Any]) -> NDArray[np.uint8]:
    # As bytes, so that the whole state is one .npz file and never needs a pickle.
    return np.frombuffer(json.dumps(plain).encode(), np.uint8)


def stream_state(stream: np.random.Generator) -> dict[str, Any]:
    """Return the state of a random stream as plain values: its position and the number of streams spawned from it."""
    bits: Any = stream.bit_generator
    return {"bits": bits.state, "spawned": bits.seed_seq.n_children_spawned}


def restore_stream(stream: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Set a new random stream of the same seed to a saved state."""
    bits: Any = stream.bit_generator
    bits.state = state["bits"]
    # A generator's state does not include the number of streams spawned from its seed.
    bits.seed_seq.spawn(state["spawned"] - bits.seed_seq.n_children_spawned)


def with_prefix(arrays: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names start with ``name`` and a dot, with this prefix removed."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
