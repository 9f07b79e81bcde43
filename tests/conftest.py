"""What many tests share: the catalogue, experiments written as text, and the program run in-process or as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import TypeVar

import pytest
from hypothesis import settings

from temper.engine.catalogue.discovery import Catalogue, discover
from temper.engine.command_line.main import main
from temper.engine.language.experiment import Experiment
from temper.engine.language.experiment_file import load
from temper.engine.planning.task_graph import TaskGraph
from temper.engine.storage.digests import Digests
from temper.system import stop_request
from tests.cpu_budget import CpuBudget
from tests.environment import isolate

T = TypeVar("T")

# How long an example takes says something of the machine only.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent
PARTS = ROOT / "tests" / "parts"
SHARED = ROOT.parent / "shared"

PLAIN = """
name: plain
seeds: [1, 2]
axes:
  by: [0.1, 0.2]
datasets:
  grey: {type: plain}
generate:
  lighter: {type: shift, data: grey, noise: {type: fixed, by: $by}}
  random: {type: shift, data: grey, noise: {type: drawn}}
evaluate:
  shade: {type: shade, examples: [grey, lighter, random]}
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests marked `long`")
    parser.addoption("--backend", help="the Keras backend to test on; default: tensorflow")
    parser.addoption("--cpu-by-file", action="store_true", help="print the CPU seconds of each test file")


def pytest_configure(config: pytest.Config) -> None:
    isolate(os.environ)  # before a module of tests is imported, and a framework with it
    config_home = tempfile.TemporaryDirectory(prefix="temper-tests-")  # the user's cluster files are not the tests'
    config.add_cleanup(config_home.cleanup)
    os.environ["XDG_CONFIG_HOME"] = config_home.name
    if backend := config.getoption("--backend"):
        os.environ["KERAS_BACKEND"] = backend
    config.pluginmanager.register(CpuBudget(config.getoption("--cpu-by-file")), "cpu-budget")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked ``long`` unless ``--long`` asks for them."""
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """The built-in components and those of the tests."""
    return discover([PARTS])


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and real models."""
    if not SHARED.is_dir():
        pytest.skip(f"the real data and models are not at {SHARED}")
    return SHARED


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write an experiment file and return its path."""

    def write(text: str, name: str = "experiment.yaml") -> Path:
        path = tmp_path / name
        path.write_text(dedent(text), encoding="utf-8")
        return path

    return write


@pytest.fixture
def experiment(write: Callable[..., Path], catalogue: Catalogue) -> Callable[..., Experiment]:
    """Return a checked experiment from its text."""

    def experiment(text: str, *sets: str) -> Experiment:
        return load(write(text), catalogue, sets)

    return experiment


@pytest.fixture
def graph(experiment: Callable[..., Experiment], tmp_path: Path) -> Callable[..., TaskGraph]:
    """The works of an experiment given as text, with overrides."""

    def graph(text: str, *sets: str) -> TaskGraph:
        return TaskGraph(experiment(text, *sets), Digests(tmp_path / "digests.json"))

    return graph


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run the command line in this process; return its exit code and all it printed."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        code = main([*map(str, arguments), "--components", str(PARTS), "--outputs", str(tmp_path / "outputs")])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def stopped_again_and_again(make: Callable[[], T]) -> tuple[T, int]:
    """Make something that keeps a checkpoint in a process that is asked to stop all the time; return it and how often it stopped."""
    stops = 0
    stop_request.request()
    try:
        while True:
            try:
                return make(), stops
            except stop_request.Stopped:
                stops += 1
    finally:
        stop_request.withdraw()


def tables(results: Path) -> dict[str, bytes]:
    """Return the tables in an experiment's folder of results."""
    return {path.name: path.read_bytes() for path in sorted(results.glob("*.csv"))}


def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    """Start the program as a process of its own."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "runner.py"), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
        # A shell that runs the tests in its background lets them, and what they start, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
