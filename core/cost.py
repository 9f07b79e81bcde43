"""Measures what a piece of work costs: seconds, CPU seconds and peak memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import TracebackType
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
    """Measures the cost of its ``with`` block; ``look`` is called with the peak so far at every new peak."""

    def __init__(self, look: Callable[[int], None] = lambda peak: None) -> None:
        self.cost = Cost()
        self._look = look
        self._process = psutil.Process()
        self._done = threading.Event()

    def __enter__(self) -> Meter:
        self._start, self._cpu = time.perf_counter(), self._cpu_seconds()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="memory")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self.cost.seconds = time.perf_counter() - self._start
        self.cost.cpu_seconds = self._cpu_seconds() - self._cpu

    def as_dict(self) -> dict[str, Any]:
        """Return the cost as plain values."""
        return asdict(self.cost)

    def _cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _watch(self) -> None:
        while True:
            memory = self._process.memory_info().rss
            if memory > self.cost.peak_memory:
                self.cost.peak_memory = memory
                self._look(memory)
            if self._done.wait(INTERVAL):
                return
