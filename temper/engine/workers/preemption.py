"""How a worker reacts to a preemption signal of its batch system: the stage saves a checkpoint, and the worker leaves."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any

from temper.engine.storage.attempt_log import mark_preempted
from temper.system import stop_request

_SIGNALS = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
"""Preemption signals: Slurm's TERM, Grid Engine's USR1 and USR2, the limit on processor time; also a closed terminal's."""


def handle_preemption(worker: Any) -> None:
    """On a preemption signal, let a Dask worker finish or interrupt its stage first; called in its event loop."""
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread receives signals
    stop_request.withdraw()
    loop = asyncio.get_running_loop()
    leaving: list[asyncio.Task[None]] = []

    def preempted() -> None:
        if not leaving:
            stop_request.request()
            mark_preempted()
            leaving.append(loop.create_task(_leave(worker)))

    for name in _SIGNALS:
        # Signals ignored at the worker's start, as by `nohup`, stay ignored.
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:
            # In the place of Dask's own, which ends the worker at once.
            _handle(getattr(signal, name), preempted, loop)


def _handle(number: int, act: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.add_signal_handler(number, act)
    except NotImplementedError:  # Windows
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(act))


async def _leave(worker: Any) -> None:
    from distributed import Status

    worker.status = Status.paused  # it receives no new tasks
    while worker.state.executing_count:
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)  # the outcome of the stage is still on its way to the scheduler
    await worker.close_gracefully()
