"""Signals: what asks a run to stop, and what ends it at once."""

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

_WARNINGS = ("SIGTERM", "SIGHUP", "SIGUSR1")  # Windows has one of them
_NOW = 130


@contextmanager
def stop_signals_handled(grace: float) -> Iterator[None]:
    """Let a warning stop the run where it can go on later; a second one, or ``grace`` seconds, at once.

    A signal that the process was started to ignore, as ``nohup`` does, stays ignored.
    """
    last = threading.Timer(grace, _thread.interrupt_main)
    last.daemon = True

    def preempted(number: int, frame: FrameType | None) -> None:
        if stop_request.requested():
            raise KeyboardInterrupt
        stop_request.request()
        mark_preempted()
        last.start()

    stop_request.withdraw()
    numbers = [getattr(signal, name) for name in _WARNINGS if hasattr(signal, name)]
    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = [signal.signal(number, preempted) for number in heeded]
    try:
        yield
    finally:
        last.cancel()
        for number, handler in zip(heeded, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def interrupts_repeated(every: float = 1.0) -> Iterator[None]:
    """Raise Ctrl-C's ``KeyboardInterrupt`` again each ``every`` seconds until the block is left.

    Native code (XLA's garbage collection, TensorFlow's Python functions) discards one that is raised while it calls
    back into Python. In threads other than the main one, which signals never reach, this does nothing.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield
        return
    left, repeating = threading.Event(), False

    def repeat() -> None:
        while not left.wait(every):
            _thread.interrupt_main()

    repeater = threading.Thread(target=repeat, daemon=True)

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal repeating
        if repeating and left.is_set():
            return  # a repetition of what has ended the block
        if not repeating and not left.is_set():
            repeating = True
            repeater.start()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        left.set()
        if repeating:
            repeater.join()
        signal.signal(signal.SIGINT, before)


def exit_on_interrupt() -> None:
    """From now on, when all that is kept is kept, Ctrl-C ends the process without another word."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(_NOW))


def shield_resource_tracker() -> None:
    """Start the process that tracks what Python's processes share so that a closing terminal does not end it.

    Python spares it Ctrl-C and SIGTERM only; without it the processes that end print tracebacks.
    """
    from multiprocessing import resource_tracker

    if not hasattr(signal, "SIGHUP"):
        return
    # It inherits the mask; here what came meanwhile is taken up at the end of the block.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
