"""Leases: one runner at a time computes an artefact, and a dead one does not block the others."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from temper.engine.storage import leases as lease_module
from temper.engine.storage.leases import EXPIRY, Leases
from temper.system.installation import IMPORT_FOLDER

HOLD = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from temper.engine.storage.leases import Leases
assert Leases(Path({folder!r})).acquire("a")
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def leases(tmp_path: Path) -> Iterator[Leases]:
    leases = Leases(tmp_path)
    yield leases
    leases.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Leases]:
    other = Leases(tmp_path)
    yield other
    other.close()


def write(path: Path, age: float = 0.0, **owner: object) -> None:
    path.write_text(json.dumps(owner), encoding="utf-8")
    os.utime(path, (time.time() - age,) * 2)


def test_lease_has_one_holder_who_can_acquire_it_again(leases: Leases, other: Leases) -> None:
    assert leases.acquire("a")
    assert leases.acquire("a")
    assert not other.acquire("a")
    assert other.acquire("b")


def test_released_lease_can_be_acquired(leases: Leases, other: Leases, tmp_path: Path) -> None:
    leases.acquire("a")
    other.release("a")  # held by another runner: no effect
    assert not other.acquire("a")
    leases.release("a")
    assert other.acquire("a")
    other.close()
    assert not list(tmp_path.glob("a"))


def test_lease_of_a_killed_process_is_void_at_once(leases: Leases, tmp_path: Path) -> None:
    root = str(IMPORT_FOLDER)
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(root=root, folder=str(tmp_path))], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert not leases.acquire("a")
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert leases.acquire("a")


def test_reused_process_id_does_not_keep_a_lease_alive(leases: Leases, tmp_path: Path) -> None:
    write(tmp_path / "a", host=socket.gethostname(), pid=os.getpid(), started=1.0, token="x")
    assert leases.acquire("a")


@pytest.mark.parametrize(("age", "void"), [(EXPIRY - 10, False), (EXPIRY + 10, True)])
def test_lease_of_another_host_expires(leases: Leases, tmp_path: Path, age: float, void: bool) -> None:
    write(tmp_path / "a", age, host="elsewhere", pid=1, started=1.0, token="x")
    assert leases.acquire("a") is void


@pytest.mark.parametrize(("age", "void"), [(EXPIRY - 10, False), (EXPIRY + 10, True)])
def test_lease_of_a_stopped_process_expires(leases: Leases, tmp_path: Path, age: float, void: bool) -> None:
    started = psutil.Process().create_time()
    write(tmp_path / "a", age, host=socket.gethostname(), pid=os.getpid(), started=started, token="x")
    assert leases.acquire("a") is void


@pytest.mark.parametrize("ahead", [3600.0, 86400.0, 10 * 365 * 86400.0])
def test_lease_dated_ahead_expires_unless_renewed(
    leases: Leases, tmp_path: Path, ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: clock)
    write(tmp_path / "a", -ahead, host="elsewhere", pid=1, started=1.0, token="x")
    assert not leases.acquire("a")
    clock += EXPIRY - 1
    os.utime(tmp_path / "a", (time.time() + ahead + 60,) * 2)  # its owner is alive, with a clock that is ahead
    assert not leases.acquire("a")
    clock += EXPIRY - 1
    assert not leases.acquire("a")
    clock += 2
    assert leases.acquire("a")


def test_resumed_runner_gives_up_a_lease_that_was_taken_over(leases: Leases, other: Leases, tmp_path: Path) -> None:
    assert leases.acquire("a")
    os.utime(tmp_path / "a", (time.time() - EXPIRY - 10,) * 2)
    assert other.acquire("a")
    leases.release("a")
    assert not leases.acquire("a")
    assert (tmp_path / "a").exists()


def test_holder_reports_who_and_since_when(leases: Leases, other: Leases, tmp_path: Path) -> None:
    assert other.holder("a") == ""
    leases.acquire("a")
    today = time.strftime("%Y-%m-%d")
    assert other.holder("a").startswith(f"process {os.getpid()} on {socket.gethostname()} since {today}")
    (tmp_path / "b").write_text("torn", encoding="utf-8")
    assert other.holder("b") == ""


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}"])
@pytest.mark.parametrize(("age", "void"), [(0.0, False), (EXPIRY + 10, True)])
def test_truncated_lease_counts_until_it_expires(
    leases: Leases, tmp_path: Path, text: str, age: float, void: bool
) -> None:
    path = tmp_path / "a"
    path.write_text(text, encoding="utf-8")
    os.utime(path, (time.time() - age,) * 2)
    assert leases.acquire("a") is void


def test_holder_sends_heartbeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "HEARTBEAT", 0.02)
    leases = Leases(tmp_path)
    leases.acquire("a")
    path = tmp_path / "a"
    os.utime(path, (0, 0))
    deadline = time.monotonic() + 10
    while path.stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.stat().st_mtime > time.time() - 60
    leases.close()


def test_void_lease_is_checked_again_before_takeover(
    leases: Leases, other: Leases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", EXPIRY + 10, host="elsewhere", pid=1, started=1.0, token="x")
    is_void = other._is_void

    def void(path: Path) -> bool:
        found = is_void(path)
        leases.acquire("a")  # before the other runner, which has just found the lease void
        return found

    monkeypatch.setattr(other, "_is_void", void)
    assert not other.acquire("a")
    assert leases.acquire("a")


def test_guard_of_a_runner_that_died_during_takeover_expires(leases: Leases, tmp_path: Path) -> None:
    write(tmp_path / "a", EXPIRY + 10, host="elsewhere", pid=1, started=1.0, token="x")
    write(tmp_path / ".void-a")
    assert not leases.acquire("a")
    write(tmp_path / ".void-a", EXPIRY + 10)
    assert [leases.acquire("a"), leases.acquire("a")] == [False, True]
    assert not (tmp_path / ".void-a").exists()


@pytest.mark.parametrize("_", range(5))
def test_one_of_many_threads_takes_over_a_void_lease(tmp_path: Path, _: int) -> None:
    write(tmp_path / "a", EXPIRY + 10, host="elsewhere", pid=1, started=1.0, token="x")
    runners = [Leases(tmp_path) for _ in range(8)]
    barrier = threading.Barrier(8)
    got: list[bool] = []

    def take(runner: Leases) -> None:
        barrier.wait()
        got.append(runner.acquire("a"))

    threads = [threading.Thread(target=take, args=(runner,)) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for runner in runners:
        runner.close()
    assert sum(got) == 1


def race(folder: Path, rounds: int, log: Path) -> None:
    leases = Leases(folder)
    for number in range(rounds):
        while not leases.acquire(f"r{number}"):
            time.sleep(0.001)
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, f"in {number} {os.getpid()}\n".encode())
        time.sleep(0.001)
        os.write(descriptor, f"out {number} {os.getpid()}\n".encode())
        os.close(descriptor)
        leases.release(f"r{number}")
    leases.close()


def test_processes_exclude_each_other(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=race, args=(tmp_path / "leases", 10, log)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 8
    inside: dict[str, str] = {}
    entries = 0
    for line in log.read_text(encoding="utf-8").splitlines():
        what, number, pid = line.split()
        if what == "in":
            assert number not in inside
            inside[number] = pid
            entries += 1
        else:
            assert inside.pop(number) == pid
    assert entries == 80
