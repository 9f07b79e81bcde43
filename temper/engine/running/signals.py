"""Signals: those that request a stop, and those that end a run at once."""

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

_STOP_SIGNALS = ("SIGTERM", "SIGHUP", "SIGUSR1")  # Windows has one of them
_NOW = 130


class _Interrupts:
    """Raises ``KeyboardInterrupt`` for a signal, and again each ``every`` seconds until ``end``."""

    def __init__(self, every: float) -> None:
        self._number, self._is_over, self._every = 0, False, every
        self._came, self._ended = threading.Event(), threading.Event()
        # Not started in the handler: a second signal would interrupt the start.
        self._repeater = threading.Thread(target=self._repeat, daemon=True)
        self._repeater.start()

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        if self._number and self._is_over:
            return  # a repetition of the signal that ended the block
        if not self._number and not self._is_over:
            self._number = number
            self._came.set()
        raise KeyboardInterrupt

    def end(self) -> None:
        self._is_over = True  # first: no signal can arrive in between
        self._ended.set()
        self._came.set()
        self._repeater.join()

    def _repeat(self) -> None:
        self._came.wait()
        while not self._ended.wait(self._every):
            _send(self._number)


_BLOCKS: list[_Interrupts] = []
"""The block of ``interrupts_repeated`` that the main thread is in, if any."""


@contextmanager
def stop_signals_handled(grace: float) -> Iterator[None]:
    """Stop the run at a checkpoint on the first signal, and at once on a second one or after ``grace`` seconds.

    A signal that the process was started to ignore, as ``nohup`` does, stays ignored.
    """
    timers: list[threading.Timer] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if stop_request.requested():
            if _BLOCKS:
                _BLOCKS[-1].handle(number)
                return
            raise KeyboardInterrupt
        stop_request.request()
        mark_preempted()
        timer = threading.Timer(grace, _send, [number])
        timer.daemon = True
        timers.append(timer)
        timer.start()

    stop_request.withdraw()
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
    """Send a signal to the main thread; where the system can, wake a call that blocks it."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(signal.Signals(number))


@contextmanager
def interrupts_repeated(every: float = 1.0) -> Iterator[None]:
    """Repeat the ``KeyboardInterrupt`` of a signal each ``every`` seconds until the block is left.

    Native code (XLA's garbage collection, TensorFlow's Python functions) discards one that is raised while it calls
    back into Python. In threads other than the main one, which never receive signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, interrupts = signal.getsignal(signal.SIGINT), _Interrupts(every)
    handled = before is signal.default_int_handler  # neither ignored nor replaced by the embedding program
    _BLOCKS.append(interrupts)
    if handled:
        signal.signal(signal.SIGINT, interrupts.handle)
    try:
        yield
    finally:
        interrupts.end()
        _BLOCKS.remove(interrupts)
        if handled:
            signal.signal(signal.SIGINT, before)


def exit_on_interrupt() -> None:
    """From now on, when everything is saved, let Ctrl-C end the process silently."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(_NOW))


def shield_resource_tracker() -> None:
    """Start Python's resource tracker so that a closing terminal does not end it.

    Python shields it from Ctrl-C and SIGTERM only; without the tracker, ending processes print tracebacks.
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
