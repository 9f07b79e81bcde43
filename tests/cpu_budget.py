"""Counts the CPU seconds of a test run, children included, and says at its end when they pass the budget."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator
from typing import Any

import pytest

BUDGET = 20 * 60
"""CPU seconds the default suite may take: ten minutes on two cores."""

STARTED = pytest.StashKey[float]()


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of all children it has waited for."""
    return sum(os.times()[:4])


class CpuBudget:
    """Adds up the CPU time of tests by file, over all processes of pytest-xdist."""

    def __init__(self, by_file: bool) -> None:
        self.by_file = by_file
        self.files: dict[str, float] = defaultdict(float)
        self.workers = 0.0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        item.stash[STARTED] = cpu_seconds()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        if call.when == "teardown":
            item.user_properties.append(("cpu", cpu_seconds() - item.stash[STARTED]))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self.files[report.nodeid.split("::")[0]] += dict(report.user_properties).get("cpu", 0.0)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, Any, Any]:
        result = yield
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["cpu"] = cpu_seconds()
        return result

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.workers += getattr(node, "workeroutput", {}).get("cpu", 0.0)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        own = sum(os.times()[:2]) if self.workers else cpu_seconds()
        total = self.workers + own
        if self.by_file:
            for file, seconds in sorted(self.files.items(), key=lambda pair: -pair[1]):
                terminalreporter.write_line(f"{seconds:8.1f} {file}")
        terminalreporter.write_line(f"CPU time {total / 60:.1f} min, budget {BUDGET / 60:.0f} min")
        if total > BUDGET:
            terminalreporter.write_line(
                "The suite is over its CPU budget. Run it with --cpu-by-file and make the most expensive files cheaper, "
                "or mark tests that are only worth a run now and then as `long`.",
                red=True,
            )
