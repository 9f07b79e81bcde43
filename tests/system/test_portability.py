"""What only Linux or POSIX has is taken away; what is left has to do."""

from __future__ import annotations

import asyncio
import builtins
import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from temper.engine.running import signals
from temper.engine.storage import provenance
from temper.engine.workers import preemption
from temper.nn.model_files import untrusted_files
from temper.system import files, processes, stop_request
from tests.conftest import PLAIN

POSIX_SIGNALS = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGKILL", "SIGSTOP", "SIGCONT", "SIGQUIT")
POSIX = (
    "sched_getaffinity", "sched_setaffinity", "fork", "getuid", "geteuid", "getpgid", "setsid", "killpg", "statvfs", "O_DIRECTORY", "getloadavg", "uname", "sysconf", "nice",
)  # fmt: skip


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take away what Windows, and in part macOS, lack; pytest needs some of it to make ``tmp_path``."""
    for name in POSIX_SIGNALS:
        monkeypatch.delattr(signal, name, raising=False)
    monkeypatch.delattr(signal, "pthread_sigmask")
    monkeypatch.delattr(signal, "pthread_kill")
    for name in POSIX:
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.delattr(errno, "EDQUOT")
    for name in ("resource", "fcntl", "pwd", "grp", "termios"):
        monkeypatch.setitem(sys.modules, name, None)
    real = builtins.open

    def opened(file: Any, *more: Any, **options: Any) -> Any:
        if str(file).startswith(("/proc/cpuinfo", "/sys/")):  # psutil has a way of its own on each system
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(file))
        return real(file, *more, **options)

    monkeypatch.setattr(builtins, "open", opened)


@pytest.mark.usefixtures("elsewhere")
def test_a_run_needs_nothing_of_linux(
    run: Callable[..., tuple[int, str]], write: Callable[..., Path], tmp_path: Path
) -> None:
    file = write(PLAIN)
    for arguments in ([], ["--force", "grey"], ["--plan"], ["--gc"]):
        code, said = run(file, *arguments)
        assert code == 0, said
    assert (tmp_path / "outputs" / "plain" / "results.csv").exists()


@pytest.mark.usefixtures("elsewhere")
def test_what_is_asked_of_the_system_has_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.open_files_allowed() is None
    monkeypatch.delattr(os, "O_NONBLOCK")  # the standard library takes it for granted where there is fork
    assert files.read_bytes(Path(__file__), 2**20)
    assert provenance.machine()["cores"] == os.cpu_count()
    assert isinstance(provenance.machine()["processor"], str)
    signals.shield_resource_tracker()
    untrusted_files._limit(2**20, 1)


@pytest.mark.usefixtures("elsewhere")
def test_the_one_stop_signal_of_windows_is_handled() -> None:
    with signals.stop_signals_handled(60.0):
        signal.raise_signal(signal.SIGTERM)
        assert stop_request.requested()
    stop_request.withdraw()


@pytest.mark.usefixtures("elsewhere")
def test_a_grace_period_ends_there_too() -> None:
    def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        for _ in range(1000):
            time.sleep(0.01)

    with signals.stop_signals_handled(0.05), pytest.raises(KeyboardInterrupt):
        work()
    stop_request.withdraw()


def test_a_worker_is_preempted_where_loops_take_no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    left = threading.Event()

    def refuse(*_: object) -> None:
        raise NotImplementedError

    async def close() -> None:
        left.set()

    async def work() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", refuse)
        preemption.handle_preemption(
            SimpleNamespace(state=SimpleNamespace(executing_count=0), status=None, close_gracefully=close)
        )
        signal.raise_signal(signal.SIGTERM)
        for _ in range(300):
            if not left.is_set():
                await asyncio.sleep(0.1)

    names = [name for name in preemption._SIGNALS if hasattr(signal, name)]
    before = {name: signal.getsignal(getattr(signal, name)) for name in names}
    try:
        asyncio.run(work())
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
        stop_request.withdraw()
    assert left.is_set()


@pytest.mark.parametrize(("error", "alive"), [(psutil.AccessDenied, True), (psutil.NoSuchProcess, False)])
def test_a_process_that_says_nothing_of_itself_is_there(
    monkeypatch: pytest.MonkeyPatch, error: type[psutil.Error], alive: bool
) -> None:
    started = psutil.Process().create_time()
    assert processes.is_alive(os.getpid(), started)
    assert not processes.is_alive(os.getpid(), started - 60)

    def refuse(pid: int) -> None:
        raise error(pid)  # type: ignore[call-arg]

    monkeypatch.setattr(psutil, "Process", refuse)
    assert processes.is_alive(1, 0.0) is alive
