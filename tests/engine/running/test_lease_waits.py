"""A runner that waits for another one's artefact reports it once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from temper.engine.running import execution
from temper.engine.running.lease_waits import MAX_REPORTED, LeaseWaits
from temper.engine.storage.leases import LEASES, Leases
from tests.conftest import PLAIN


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Leases]:
    """The leases of another runner."""
    other = Leases(tmp_path / "outputs" / ".store" / LEASES)
    yield other
    other.close()


def task(name: str) -> Any:
    return SimpleNamespace(fingerprint=name, label=f"label of {name}")


def test_each_artefact_is_reported_once_up_to_a_limit(other: Leases) -> None:
    output: list[str] = []
    waiting = LeaseWaits(other)
    for number in range(2 * MAX_REPORTED):
        other.acquire(f"{number}")
        waiting.add(task(f"{number}"))
    waiting.discard(task("0"))
    waiting.report(output.append)
    waiting.report(output.append)
    assert len(output) == MAX_REPORTED
    assert output[0] == f"waiting for label of 1: {other.holder('1')} is computing it"
    assert " since " in output[0]


def test_released_lease_is_not_reported(other: Leases) -> None:
    output: list[str] = []
    waiting = LeaseWaits(other)
    waiting.add(task("a"))
    waiting.report(output.append)
    assert output == []


def test_run_reports_what_it_waits_for_and_continues(
    run: Callable[..., tuple[int, str]],
    write: Callable[..., Path],
    graph: Callable[..., Any],
    other: Leases,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(execution, "POLL_INTERVAL", 0.01)
    monkeypatch.setattr(execution, "LEASE_RECHECK", 0.01)
    (held,) = (f for f, task in graph(PLAIN).tasks.items() if task.stage == "grey")
    assert other.acquire(held)
    holder = other.holder(held)
    tell = LeaseWaits.report

    def report(self: LeaseWaits, say: Callable[[str], None]) -> None:
        tell(self, say)
        other.release(held)

    monkeypatch.setattr(LeaseWaits, "report", report)
    code, output = run(write(PLAIN))
    assert code == 0, output
    assert output.count(f"waiting for grey: {holder} is computing it") == 1
