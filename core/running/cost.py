"""Measures what a piece of work costs: seconds, CPU seconds and peak memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psutil

INTERVAL = 0.05
"""Seconds between two looks at the memory in use."""


@dataclass
class Cost:
    """What a piece of work cost; ``peak_memory`` is the process's resident set in bytes, the framework included."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    images: int = 0


class Meter:
    """Measures the cost of a piece of work."""

    def __init__(self) -> None:
        self.cost = Cost()
        self._process = psutil.Process()

    @contextmanager
    def watching(self, look: Callable[[int], None]) -> Iterator[None]:
        """Measure the block; ``look`` is called with the peak memory so far at every new peak."""
        start, cpu = time.perf_counter(), self._cpu_seconds()
        self._look(look)  # at once: a process may be killed before the thread has run
        done = threading.Event()
        watch = threading.Thread(target=self._watch, args=(look, done), daemon=True, name="memory")
        watch.start()
        try:
            yield
        finally:
            done.set()
            watch.join()
            self.cost.seconds = time.perf_counter() - start
            self.cost.cpu_seconds = self._cpu_seconds() - cpu

    def as_dict(self) -> dict[str, Any]:
        """Return the cost as plain values."""
        return asdict(self.cost)

    def memory(self) -> int:
        """Return the bytes of memory that the process uses."""
        return int(self._process.memory_info().rss)

    def _cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _watch(self, look: Callable[[int], None], done: threading.Event) -> None:
        while not done.wait(INTERVAL):
            self._look(look)

    def _look(self, look: Callable[[int], None]) -> None:
        memory = self.memory()
        if memory > self.cost.peak_memory:
            self.cost.peak_memory = memory
            look(memory)
