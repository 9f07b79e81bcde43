"""What a worker does when its batch system warns it: the stage keeps what it has, and the worker leaves."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from distributed import Status, WorkerPlugin

from core import stop

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
"""The warnings of batch systems: Slurm's TERM, Grid Engine's USR1 and USR2, the limit on processor time."""


class Warned(WorkerPlugin):  # type: ignore[misc]
    """Lets a worker that is told to end finish or interrupt its stage first; nothing new is given to it."""

    name = "warned"

    def setup(self, worker: Any) -> None:
        stop.withdraw()
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            # In the place of Dask's own, which ends the worker at once.
            loop.add_signal_handler(number, self._warn, worker, loop)

    def _warn(self, worker: Any, loop: asyncio.AbstractEventLoop) -> None:
        if not stop.requested():
            stop.request()
            worker.status = Status.paused
            self._leaving = loop.create_task(_leave(worker))


async def _leave(worker: Any) -> None:
    while worker.state.executing_count:
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)  # what the stage came to is still on its way to the scheduler
    await worker.close_gracefully()
