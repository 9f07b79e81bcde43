"""Signal handling: signals that request a stop, and signals that end a run at once."""

from __future__ import annotations

import _thread
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from temper.engine.storage.attempt_log import mark_preempted
from temper.system import stop_request

_STOP_SIGNALS = ("SIGTERM", "SIGHUP", "SIGUSR1")
"""Signals of batch systems and of a closing terminal; Windows has SIGTERM only."""
_INTERRUPTED = 130
"""The exit code of an interrupted run."""


class _InterruptRepeater:
    """Raises ``KeyboardInterrupt`` for a signal, and again each ``every`` seconds until ``end``."""

    def __init__(self, every: float) -> None:
        self._number, self._is_over, self._every = 0, False, every
        self._received, self._ended = threading.Event(), threading.Event()
        # Not started in the handler: a second signal would interrupt the start.
        self._repeater = threading.Thread(target=self._repeat, daemon=True)
        self._repeater.start()

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        if self._number and self._is_over:
            return  # a repetition of a signal that has already ended the block
        if not self._number and not self._is_over:
            self._number = number
            self._received.set()
        raise KeyboardInterrupt

    def end(self) -> None:
        self._is_over = True  # before anything else: a repetition may arrive at any moment
        self._ended.set()
        self._received.set()
        self._repeater.join()

    def _repeat(self) -> None:
        self._received.wait()
        while not self._ended.wait(self._every):
            _send(self._number)


_ACTIVE_REPEATERS: list[_InterruptRepeater] = []
"""The blocks of ``interrupts_repeated`` that the main thread is in."""


@contextmanager
def stop_signals_handled(grace: float) -> Iterator[None]:
    """Stop the run at a checkpoint on the first signal, and at once on a second one or after ``grace`` seconds.

    A signal that was ignored when the process started, as under ``nohup``, stays ignored.
    """
    timers: list[threading.Timer] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if stop_request.requested():
            if _ACTIVE_REPEATERS:
                _ACTIVE_REPEATERS[-1].handle(number)
                return
            raise KeyboardInterrupt
        stop_request.request()
        mark_preempted()
        timer = threading.Timer(grace, _send, [number])
        timer.daemon = True  # the process must not wait for it
        timers.append(timer)
        timer.start()

    stop_request.withdraw()  # of an earlier run in this process
    numbers = [getattr(signal, name) for name in _STOP_SIGNALS if hasattr(signal, name)]
    handled = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = [signal.signal(number, handle) for number in handled]
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)


def _send(number: int) -> None:
    """Send a signal to the main thread, where the system can so that a blocking call is interrupted."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(signal.Signals(number))


@contextmanager
def interrupts_repeated(every: float = 1.0) -> Iterator[None]:
    """Repeat the ``KeyboardInterrupt`` of a signal each ``every`` seconds until the block is left.

    Native code (XLA's garbage collection, TensorFlow's Python functions) swallows an exception that is raised while it
    calls back into Python. Outside the main thread, which alone receives signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, interrupts = signal.getsignal(signal.SIGINT), _InterruptRepeater(every)
    handled = before is signal.default_int_handler  # neither ignored nor replaced by the embedding program
    _ACTIVE_REPEATERS.append(interrupts)
    if handled:
        signal.signal(signal.SIGINT, interrupts.handle)
    try:
        yield
    finally:
        interrupts.end()
        _ACTIVE_REPEATERS.remove(interrupts)
        if handled:
            signal.signal(signal.SIGINT, before)


def exit_on_interrupt() -> None:
    """From now on let Ctrl-C end the process silently; call it when everything is saved."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(_INTERRUPTED))


def shield_resource_tracker() -> None:
    """Start Python's resource tracker so that a closing terminal does not end it.

    Python shields it from Ctrl-C and SIGTERM only; without the tracker, exiting processes print tracebacks.
    """
    from multiprocessing import resource_tracker

    if not hasattr(signal, "SIGHUP"):
        return
    # The tracker inherits the mask; signals that arrive here meanwhile are delivered at the end of the block.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
