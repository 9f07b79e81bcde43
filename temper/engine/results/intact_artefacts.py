"""What of an experiment's tasks can be shown: artefacts that are there and are what was written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from temper.core.artefacts import Artefact
from temper.engine.planning.task_graph import Task
from temper.engine.storage.store import Damaged, Store
from temper.system.files import is_full

A = TypeVar("A", bound=Artefact)


class IntactArtefacts:
    """Artefacts of a store for what only shows them, and does without those that are missing or damaged.

    Attributes:
        damaged: the labels of tasks whose artefacts were found damaged, each once.
        left_out: sentences on what is not shown because gathering it failed.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.damaged: dict[str, None] = {}
        self.left_out: list[str] = []

    def has(self, task: Task) -> bool:
        """Return whether a task is finished."""
        return self._store.has(task.fingerprint)

    def load(self, task: Task, kind: type[A]) -> A | None:
        """Return the artefact of a finished task; ``None`` if it is not there or damaged."""
        if not self.has(task):
            return None
        try:
            return self._store.load(task.fingerprint, kind)
        except Damaged:
            self.damaged[task.label] = None
            return None

    @contextmanager
    def showing(self, what: str) -> Iterator[None]:
        """Leave out what the block gathers of a task, or of a model, if it fails: no picture ends a run."""
        try:
            yield
        except Exception as error:
            if is_full(error) or isinstance(error, MemoryError):
                raise
            self.left_out.append(f"{what}: its pictures are left out: {str(error) or type(error).__name__}")
