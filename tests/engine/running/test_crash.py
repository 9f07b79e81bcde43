"""Kills at any moment: finished tasks stay, and the same command produces the same tables."""

from __future__ import annotations

import csv
import random
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import PARTS, ROOT, start, tables

pytestmark = pytest.mark.slow

CHAIN = """
name: chain
seeds: [1, 2]
datasets:
  grey: {type: plain, images: 2000}
generate:
  a: {type: shift, data: grey, noise: {type: drawn}, seconds: 0.2, counter: COUNTER}
  b: {type: shift, data: a, noise: {type: drawn}, seconds: 0.2, counter: COUNTER}
  c: {type: shift, data: b, noise: {type: drawn, like: a}, seconds: 0.2, counter: COUNTER}
  d: {type: shift, data: grey, noise: {type: drawn}, seconds: 0.2, counter: COUNTER}
evaluate:
  shade: {type: shade, examples: [grey, a, b, c, d]}
"""
TASKS = 5 * 2  # four test parts and the training part of a, for two seeds

Write = Callable[..., Path]


@pytest.fixture
def chain(write: Write, tmp_path: Path) -> Path:
    return write(CHAIN.replace("COUNTER", str(tmp_path / "count")))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], float]:
    """The tables of an undisturbed run of the chain, and its duration in seconds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    file = folder / "experiment.yaml"
    file.write_text(CHAIN.replace("COUNTER", str(folder / "count")), encoding="utf-8")
    started = time.monotonic()
    finish(file, folder)
    return tables(folder / "chain"), time.monotonic() - started


def options(outputs: Path, *more: str) -> list[str | Path]:
    return ["--components", PARTS, "--outputs", outputs, *more]


def finish(file: Path, outputs: Path, *more: str) -> str:
    process = start(file, *options(outputs, *more))
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


@pytest.mark.parametrize("kills", [4, pytest.param(12, marks=pytest.mark.long)])
def test_kill_at_random_moments_then_resume(
    chain: Path, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path, kills: int
) -> None:
    expected, seconds = undisturbed
    rng = random.Random(1)
    killed = 0
    for _ in range(kills):
        process = start(chain, *options(tmp_path / "killed"))
        time.sleep(rng.uniform(0.2, 0.7) * seconds)
        if process.poll() is not None:  # it is done: start over
            shutil.rmtree(tmp_path / "killed")
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    finish(chain, tmp_path / "killed")
    assert killed >= kills / 3
    assert tables(tmp_path / "killed" / "chain") == expected
    assert not list((tmp_path / "killed" / ".store" / ".leases").glob("[0-9a-f]*"))


@pytest.mark.long
def test_killed_training_resumes_to_the_same_numbers(write: Write, tmp_path: Path) -> None:
    file = write(
        """
        name: chain
        seeds: [1, 2]
        datasets: {digits: {type: digits}}
        targets: {mlp: {type: dense, dataset: digits, layers: 1, units: 16, epochs: 3}}
        generate: {pgd: {type: pgd, model: mlp, eps: 0.1, eps_step: 0.02, max_iter: 10}}
        repair: {hard: {type: adversarial_training, model: mlp, examples: pgd, epochs: 2}}
        evaluate:
          matrix: {type: robustness_matrix, models: [mlp, hard], examples: [digits, pgd], protocol: white_box}
        """
    )
    started = time.monotonic()
    finish(file, tmp_path / "whole")
    seconds = time.monotonic() - started
    rng = random.Random(2)
    for _ in range(4):
        process = start(file, *options(tmp_path / "killed"))
        time.sleep(rng.uniform(0.3, 0.9) * seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    finish(file, tmp_path / "killed")
    assert tables(tmp_path / "killed" / "chain") == tables(tmp_path / "whole" / "chain")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_stops_cleanly_and_reports_how_to_resume(chain: Path, tmp_path: Path, number: signal.Signals) -> None:
    process = start(chain, *options(tmp_path / "outputs", "--set", "generate.d.seconds=30"))
    deadline = time.monotonic() + 240
    while not (tmp_path / "count").exists() or "d.test" not in (tmp_path / "count").read_text(encoding="utf-8"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert f"Resume with: python {ROOT / 'runner.py'} {chain}" in output
    assert "Traceback" not in output
    assert (tmp_path / "outputs" / "chain" / "shade.csv").exists()
    assert "0 failed" in finish(chain, tmp_path / "outputs")


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.0, 0.1])
def test_repeated_interrupts_end_the_run_without_a_traceback(chain: Path, tmp_path: Path, pause: float) -> None:
    process = start(chain, *options(tmp_path / "outputs", "--set", "generate.d.seconds=30"))
    deadline = time.monotonic() + 240
    while not (tmp_path / "count").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for _ in range(4):
        process.send_signal(signal.SIGINT)
        time.sleep(pause)
    output, _ = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT), (
        output
    )  # the last signal may arrive after the interpreter's handlers are gone
    assert "Traceback" not in output


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_two_runners_share_the_tasks(
    chain: Path, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path, jobs: str
) -> None:
    runners = [start(chain, *options(tmp_path / "outputs", "--jobs", jobs)) for _ in range(2)]
    for runner in runners:
        output, _ = runner.communicate(timeout=300)
        assert runner.returncode == 0, output
    done = (tmp_path / "count").read_text(encoding="utf-8").splitlines()
    assert len(done) == TASKS
    assert tables(tmp_path / "outputs" / "chain") == undisturbed[0]


def test_workers_produce_the_same_tables(
    chain: Path, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path
) -> None:
    finish(chain, tmp_path / "three", "--jobs", "3")
    assert tables(tmp_path / "three" / "chain") == undisturbed[0]


def failures(results: Path) -> list[dict[str, str]]:
    with (results / "failures.csv").open(encoding="utf-8-sig") as stream:
        return list(csv.DictReader(stream))


def test_crash_in_native_code_is_reported_with_its_location(write: Write, tmp_path: Path) -> None:
    file = write(
        """
        name: crash
        datasets: {grey: {type: plain}}
        generate: {bad: {type: trouble, data: grey, how: crash}}
        evaluate: {shade: {type: shade, examples: [bad]}}
        """
    )
    process = start(file, *options(tmp_path / "outputs", "--jobs", "2"))
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    (failure,) = failures(tmp_path / "outputs" / "crash")
    assert failure["cause"].startswith("its worker process died 2 times (killed by SIGSEGV)")
    log = Path(failure["log"]).read_text(encoding="utf-8")
    assert log.count("Fatal Python error: Segmentation fault") == 2
    assert "tests/parts/plain.py" in log


def test_killed_worker_repeats_only_its_stage(write: Write, tmp_path: Path) -> None:
    file = write(
        """
        name: poison
        seeds: [1, 2, 3]
        datasets: {grey: {type: plain}}
        generate:
          poison: {type: trouble, data: grey, how: kill}
          after: {type: shift, data: poison, noise: {type: drawn}}
          good: {type: shift, data: grey, noise: {type: drawn}, seconds: 0.2}
          better: {type: shift, data: good, noise: {type: drawn}, seconds: 0.2}
        evaluate:
          shade: {type: shade, examples: [grey, poison, after, good, better]}
        """
    )
    process = start(file, *options(tmp_path / "outputs", "--jobs", "2"))
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    assert "its worker process died 2 times (killed by SIGKILL); its memory was last seen at " in output
    assert "1 failed" in output
    (failure,) = failures(tmp_path / "outputs" / "poison")
    assert (failure["label"], failure["host"]) == ("poison.test", socket.gethostname())
    assert int(failure["peak_memory"]) > 2**20
    log = Path(failure["log"]).read_text(encoding="utf-8")
    assert log.count(f" on {socket.gethostname()}, began ") == log.count("last words") == 2
    rows = (tmp_path / "outputs" / "poison" / "shade.csv").read_text(encoding="utf-8-sig").splitlines()
    holes = [row for row in rows if "skipped: poison.test failed" in row]
    assert len(holes) == 2
    assert len(rows) == 1 + 5
    assert not (ROOT / "dask-worker-space").exists()
