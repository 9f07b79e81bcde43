"""Measures the cost of a task: seconds, CPU seconds and peak memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from temper.core.run import Run

INTERVAL = 0.05
"""Seconds between samples of the memory in use."""


@dataclass
class ResourceUsage:
    """The cost of a task; ``peak_memory`` is the process's resident set in bytes, the framework included.

    The cost of a resumed task includes everything up to the checkpoint it resumed from, in whichever process that
    ran, and excludes the work that the interruption lost.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    images: int = 0


class Meter:
    """Measures the cost of a task."""

    def __init__(self) -> None:
        self.cost = ResourceUsage()
        self._process = psutil.Process()
        self._start, self._cpu_start = self._clocks()

    @contextmanager
    def watching(self, on_peak: Callable[[int], None]) -> Iterator[None]:
        """Measure the block; ``on_peak`` is called with every new peak of memory, in bytes."""
        self._start, self._cpu_start = self._clocks()
        self._sample(on_peak)  # at once: the process may be killed before the thread has run
        done = threading.Event()
        sampler = threading.Thread(target=self._sample_regularly, args=(on_peak, done), daemon=True, name="memory")
        sampler.start()
        try:
            yield
        finally:
            done.set()
            sampler.join()
            self.update()

    def update(self) -> None:
        """Add the time since the start of the block, or since the last update."""
        now, cpu_now = self._clocks()
        self.cost.seconds += now - self._start
        self.cost.cpu_seconds += cpu_now - self._cpu_start
        self._start, self._cpu_start = now, cpu_now

    def as_dict(self) -> dict[str, Any]:
        """Return the cost as plain values."""
        return asdict(self.cost)

    def memory(self) -> int:
        """Return the resident memory of the process in bytes."""
        return int(self._process.memory_info().rss)

    def _clocks(self) -> tuple[float, float]:
        """Return seconds and CPU seconds, each since an arbitrary moment."""
        times = self._process.cpu_times()
        return time.perf_counter(), float(times.user + times.system)

    def _sample_regularly(self, on_peak: Callable[[int], None], done: threading.Event) -> None:
        while not done.wait(INTERVAL):
            self._sample(on_peak)

    def _sample(self, on_peak: Callable[[int], None]) -> None:
        memory = self.memory()
        if memory > self.cost.peak_memory:
            self.cost.peak_memory = memory
            on_peak(memory)


class RunningCost:
    """The cost of a task so far, which its checkpoint saves and restores with the state."""

    def __init__(self, meter: Meter, run: Run) -> None:
        self._meter, self._run = meter, run
        self._resumed = ResourceUsage()

    def state(self) -> Mapping[str, Any]:
        """Return the cost so far as plain values."""
        self._meter.update()
        return self._meter.as_dict() | {"images": self._run.images}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved cost; a state that is loaded twice counts once."""
        before, cost = ResourceUsage(**state), self._meter.cost
        cost.seconds += before.seconds - self._resumed.seconds
        cost.cpu_seconds += before.cpu_seconds - self._resumed.cpu_seconds
        cost.peak_memory = max(cost.peak_memory, before.peak_memory)
        # Assigned, not added: a stage repeats its first steps before it loads its state, and counts their images again.
        self._run.images = before.images
        self._resumed = before
