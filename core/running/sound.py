"""What of an experiment's works can be shown: artefacts that are there and are what was written."""

from __future__ import annotations

from typing import TypeVar

from core.artefacts import Artefact
from core.running.graph import Work
from core.storage.store import Damaged, Store

A = TypeVar("A", bound=Artefact)


class Sound:
    """Artefacts of a store for what only shows them, and does without those that are missing or damaged.

    Attributes:
        damaged: the labels of works whose artefacts were found damaged, each once.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.damaged: dict[str, None] = {}

    def has(self, work: Work) -> bool:
        """Return whether a work is finished."""
        return self._store.has(work.fingerprint)

    def load(self, work: Work, kind: type[A]) -> A | None:
        """Return the artefact of a finished work; ``None`` if it is not there or damaged."""
        if not self.has(work):
            return None
        try:
            return self._store.load(work.fingerprint, kind)
        except Damaged:
            self.damaged[work.label] = None
            return None
