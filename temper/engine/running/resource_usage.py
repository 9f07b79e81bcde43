"""Measures what a piece of work costs: seconds, CPU seconds and peak memory."""

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
"""Seconds between two looks at the memory in use."""


@dataclass
class ResourceUsage:
    """What a piece of work cost; ``peak_memory`` is the process's resident set in bytes, the framework included.

    Of a work that was interrupted, this includes what led to the checkpoint from which it continued, in whichever process that
    was, and excludes what was lost with the interruption.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    images: int = 0


class Meter:
    """Measures the cost of a piece of work."""

    def __init__(self) -> None:
        self.cost = ResourceUsage()
        self._process = psutil.Process()
        self._start, self._cpu_start = self._clocks()

    @contextmanager
    def watching(self, look: Callable[[int], None]) -> Iterator[None]:
        """Measure the block; ``look`` is called with the peak memory so far at every new peak."""
        self._start, self._cpu_start = self._clocks()
        self._look(look)  # at once: a process may be killed before the thread has run
        done = threading.Event()
        watch = threading.Thread(target=self._watch, args=(look, done), daemon=True, name="memory")
        watch.start()
        try:
            yield
        finally:
            done.set()
            watch.join()
            self.update()

    def update(self) -> None:
        """Add to the cost what has passed since the start of the block, or since the last update."""
        now, cpu_now = self._clocks()
        self.cost.seconds += now - self._start
        self.cost.cpu_seconds += cpu_now - self._cpu_start
        self._start, self._cpu_start = now, cpu_now

    def as_dict(self) -> dict[str, Any]:
        """Return the cost as plain values."""
        return asdict(self.cost)

    def memory(self) -> int:
        """Return the bytes of memory that the process uses."""
        return int(self._process.memory_info().rss)

    def _clocks(self) -> tuple[float, float]:
        """Return seconds and CPU seconds, each since some moment."""
        times = self._process.cpu_times()
        return time.perf_counter(), float(times.user + times.system)

    def _watch(self, look: Callable[[int], None], done: threading.Event) -> None:
        while not done.wait(INTERVAL):
            self._look(look)

    def _look(self, look: Callable[[int], None]) -> None:
        memory = self.memory()
        if memory > self.cost.peak_memory:
            self.cost.peak_memory = memory
            look(memory)


class RunningCost:
    """The cost of a run so far, which its checkpoint keeps with each state and takes up again with it."""

    def __init__(self, meter: Meter, run: Run) -> None:
        self._meter, self._run = meter, run
        self._resumed = ResourceUsage()

    def state(self) -> Mapping[str, Any]:
        """Return the cost so far as plain values."""
        self._meter.update()
        return self._meter.as_dict() | {"images": self._run.images}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a cost; a state that is loaded twice counts once."""
        before, cost = ResourceUsage(**state), self._meter.cost
        cost.seconds += before.seconds - self._resumed.seconds
        cost.cpu_seconds += before.cpu_seconds - self._resumed.cpu_seconds
        cost.peak_memory = max(cost.peak_memory, before.peak_memory)
        # Assigned, not added: a stage repeats what it does before it loads its state, and counts those images again.
        self._run.images = before.images
        self._resumed = before
