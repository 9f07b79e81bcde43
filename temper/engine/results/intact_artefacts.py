"""The artefacts of an experiment that can be shown: those that exist and are intact."""

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
    """Loads artefacts for display; missing and damaged ones are skipped.

    Attributes:
        damaged: the labels of tasks with damaged artefacts, each once.
        skipped: one sentence for each picture that could not be made, with the error.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.damaged: dict[str, None] = {}
        self.skipped: list[str] = []

    def has(self, task: Task) -> bool:
        """Return whether a task is finished."""
        return self._store.has(task.fingerprint)

    def load(self, task: Task, kind: type[A]) -> A | None:
        """Return the artefact of a finished task; ``None`` if it is missing or damaged."""
        if not self.has(task):
            return None
        try:
            return self._store.load(task.fingerprint, kind)
        except Damaged:
            self.damaged[task.label] = None
            return None

    @contextmanager
    def showing(self, what: str) -> Iterator[None]:
        """Skip the pictures of a task or model if the block fails: no picture ends a run."""
        try:
            yield
        except Exception as error:
            if is_full(error) or isinstance(error, MemoryError):
                raise
            self.skipped.append(f"{what}: its pictures are skipped: {str(error) or type(error).__name__}")
