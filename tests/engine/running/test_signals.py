"""Ctrl-C while a stage computes."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from temper.engine.running.signals import interrupts_repeated, stop_signals_handled
from temper.system import stop_request


@pytest.fixture(autouse=True)
def _default_handler() -> Iterator[None]:
    """Use Python's default handler of Ctrl-C, whatever the test runner has set."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _discard_one() -> None:
    """Discard one interrupt, as native code does in callbacks."""
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def _wait() -> None:
    for _ in range(1000):
        time.sleep(0.01)


@interrupts_repeated(every=0.01)
def _compute(discarded: int) -> None:
    """Discard a number of interrupts of one signal, and wait for the next."""
    _discard_one()
    for _ in range(discarded - 1):
        with suppress(KeyboardInterrupt):
            _wait()
    _wait()


@pytest.mark.parametrize("discarded", [1, 3])
def test_discarded_interrupt_is_repeated(discarded: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        _compute(discarded)


def test_nothing_is_raised_after_the_block() -> None:
    with suppress(KeyboardInterrupt), interrupts_repeated(every=0.001):
        signal.raise_signal(signal.SIGINT)
    time.sleep(0.05)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_end_of_the_block_restores_the_handler() -> None:
    with interrupts_repeated():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_ignored_interrupt_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_repeated():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_run_without_a_handler() -> None:
    handlers = []

    def compute() -> None:
        with interrupts_repeated():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]


@pytest.fixture
def _stop_request() -> Iterator[None]:
    yield
    stop_request.withdraw()


def _wait_after_sigterm(grace: float) -> None:
    with stop_signals_handled(grace), interrupts_repeated(every=0.01):
        signal.raise_signal(signal.SIGTERM)
        assert stop_request.requested()
        with suppress(KeyboardInterrupt):  # as native code does
            _wait()
        _wait()


@pytest.mark.usefixtures("_stop_request")
@pytest.mark.parametrize("ctrl_c", [signal.default_int_handler, signal.SIG_IGN])
def test_grace_period_ends_a_stage_even_if_interrupts_are_ignored(ctrl_c: Any) -> None:
    """A shell script starts background programs with Ctrl-C ignored."""
    signal.signal(signal.SIGINT, ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        _wait_after_sigterm(grace=0.05)


@pytest.mark.usefixtures("_stop_request")
def test_end_of_the_grace_period_interrupts_a_blocking_call() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with pytest.raises(KeyboardInterrupt), stop_signals_handled(0.05):
        signal.raise_signal(signal.SIGTERM) or time.sleep(3600)  # a test that does not end has failed
