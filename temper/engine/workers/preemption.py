"""Handles a batch system's preemption signal on a worker: the stage saves a checkpoint, and the worker exits."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any

from temper.engine.storage.attempt_log import mark_preempted
from temper.system import stop_request

_SIGNALS = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
"""Slurm's TERM, Grid Engine's USR1 and USR2, XCPU of the CPU time limit; also HUP of a closed terminal."""


def handle_preemption(worker: Any) -> None:
    """On a preemption signal, stop the stage at a checkpoint and then the worker; call it in its event loop."""
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread receives signals
    stop_request.withdraw()
    loop = asyncio.get_running_loop()
    exiting: list[asyncio.Task[None]] = []  # a reference, or the garbage collector may drop the task

    def on_preemption() -> None:
        if not exiting:
            stop_request.request()
            mark_preempted()
            exiting.append(loop.create_task(_exit(worker)))

    for name in _SIGNALS:
        # Signals ignored at the worker's start, as by `nohup`, stay ignored.
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:
            # Replaces Dask's own handler, which ends the worker at once.
            _add_handler(getattr(signal, name), on_preemption, loop)


def _add_handler(number: int, handler: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.add_signal_handler(number, handler)
    except NotImplementedError:  # Windows
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(handler))


async def _exit(worker: Any) -> None:
    from distributed import Status

    worker.status = Status.paused  # it receives no new tasks
    while worker.state.executing_count:
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)  # the stage's outcome is still on its way to the scheduler
    await worker.close_gracefully()
