"""Shards: runners that share one experiment through the store, without a coordinator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from temper.engine.planning.task_graph import Task


@dataclass(frozen=True)
class Shard:
    """The ``number``-th of ``count`` runners, from 1.

    Each shard plans the whole experiment, starts with tasks of its own and skips what another shard is doing or has
    done, so any shard may die or be missing.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that ``2/8`` represents.

        Raises:
            ValueError: the text is not a shard.
        """
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise ValueError(f"expected K/N with K from 1 to N, such as 2/8, received '{text}'")
        return cls(int(number), int(count))

    def order(self, tasks: Iterable[Task]) -> list[Task]:
        """Return tasks with the shard's own first; otherwise in the given order."""
        return sorted(tasks, key=lambda task: int(task.fingerprint, 16) % self.count != self.number - 1)

    def __str__(self) -> str:
        return f"{self.number}-of-{self.count}"
