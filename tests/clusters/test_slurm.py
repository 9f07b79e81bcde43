"""Runs on a real Slurm of this host: whatever is killed, the tables are those of one machine."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from tests.clusters.slurm_box import SlurmBox, missing, slurm_box
from tests.conftest import PARTS, start, tables

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]

EXPERIMENT = """
name: chain
seeds: [1, 2]
datasets:
  grey: {type: plain, images: 500}
generate:
  long: {type: walk, data: grey, steps: 40, seconds: 0.25, counter: COUNTER}
  after: {type: shift, data: long, noise: {type: drawn}, counter: COUNTER}
  a: {type: shift, data: grey, noise: {type: drawn}, seconds: 0.2, counter: COUNTER}
  b: {type: shift, data: a, noise: {type: drawn, like: a}, seconds: 0.2, counter: COUNTER}
evaluate:
  shade: {type: shade, examples: [grey, long, after, a, b]}
"""
CLUSTER = """
type: slurm
workers: 2
cores: 1
memory: 1GB
walltime: "WALLTIME"
grace: 20
interface: lo
"""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmBox]:
    with slurm_box(tmp_path_factory.mktemp("slurm") / "box") as box:
        yield box


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """The tables of one machine."""
    folder = tmp_path_factory.mktemp("alone")
    file = folder / "experiment.yaml"
    file.write_text(EXPERIMENT.replace("COUNTER", str(folder / "count")).replace("0.25", "0.0"), encoding="utf-8")
    process = start(file, "--components", PARTS, "--outputs", folder / "outputs")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return tables(folder / "outputs" / "chain")


@pytest.fixture
def cluster(write: Callable[..., Path]) -> Path:
    return write(CLUSTER.replace("WALLTIME", "00:10:00"), "cluster.yaml")


@pytest.fixture
def file(write: Callable[..., Path], tmp_path: Path) -> Path:
    return write(EXPERIMENT.replace("COUNTER", str(tmp_path / "count")))


def begin(box: SlurmBox, file: Path, cluster: Path, outputs: Path) -> subprocess.Popen[str]:
    return start(file, "--components", PARTS, "--outputs", outputs, "--on", cluster, **box.environment)


def end(process: subprocess.Popen[str], outputs: Path, alone: Mapping[str, bytes], seconds: float = 240) -> str:
    said, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, said
    assert " 0 failed" in said
    assert tables(outputs / "chain") == alone
    return said


def counted(tmp_path: Path) -> list[str]:
    path = tmp_path / "count"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def long_ones_run(tmp_path: Path) -> bool:
    return sum(line.startswith("long ") for line in counted(tmp_path)) >= 2


def workers() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "distributed.cli.dask_worker" in (process.info["cmdline"] or ()):
            found.append(process)
    return found


def test_a_run_on_slurm(box: SlurmBox, file: Path, cluster: Path, tmp_path: Path, alone: Mapping[str, bytes]) -> None:
    end(begin(box, file, cluster, tmp_path / "outputs"), tmp_path / "outputs", alone)
    assert "long.test seed=1 is on " in (tmp_path / "outputs" / "chain" / "log.txt").read_text(encoding="utf-8")
    box.wait(lambda: not box.jobs(), 30, "the end of the jobs")


def test_jobs_that_are_cancelled_keep_what_they_did(
    box: SlurmBox, file: Path, cluster: Path, tmp_path: Path, alone: Mapping[str, bytes]
) -> None:
    process = begin(box, file, cluster, tmp_path / "outputs")
    box.wait(lambda: long_ones_run(tmp_path), 60, "the long stages")
    time.sleep(2)
    box.call(["scancel", *box.jobs()])
    said = end(process, tmp_path / "outputs", alone)
    assert "interrupted; it has kept what it had done" in said
    starts = [int(line.split()[-1]) for line in counted(tmp_path) if line.startswith("long ")]
    assert max(starts) > 3, starts


def test_workers_that_are_killed_cost_their_stage_only(
    box: SlurmBox, file: Path, cluster: Path, tmp_path: Path, alone: Mapping[str, bytes]
) -> None:
    process = begin(box, file, cluster, tmp_path / "outputs")
    box.wait(lambda: long_ones_run(tmp_path), 60, "the long stages")
    for worker in workers():
        worker.send_signal(signal.SIGKILL)
    end(process, tmp_path / "outputs", alone)
    done = counted(tmp_path)
    assert sum(line.startswith("a.") for line in done) <= 2 * 2 + 2, done


def test_a_runner_that_is_killed_is_started_again(
    box: SlurmBox, file: Path, cluster: Path, tmp_path: Path, alone: Mapping[str, bytes]
) -> None:
    process = begin(box, file, cluster, tmp_path / "outputs")
    box.wait(lambda: long_ones_run(tmp_path), 60, "the long stages")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    box.wait(lambda: not box.jobs(), 90, "the end of the jobs")
    end(begin(box, file, cluster, tmp_path / "outputs"), tmp_path / "outputs", alone)


def test_an_array_of_shards(
    box: SlurmBox, file: Path, cluster: Path, tmp_path: Path, alone: Mapping[str, bytes]
) -> None:
    options = [file, "--components", PARTS, "--outputs", tmp_path / "outputs"]
    printing = start(*options, "--job-script", cluster, **box.environment)
    script, _ = printing.communicate(timeout=60)
    assert printing.returncode == 0, script
    (tmp_path / "job.sh").write_text(script, encoding="utf-8")
    box.call(["sbatch", str(tmp_path / "job.sh")])
    box.wait(lambda: long_ones_run(tmp_path), 60, "the long stages")
    time.sleep(1)
    box.call(["scancel", "--signal=TERM", "--batch", box.jobs()[0]])  # as before the end of the walltime
    box.wait(lambda: not box.said(["squeue", "-h"]).strip(), 240, "the end of the array")
    assert tables(tmp_path / "outputs" / "chain") == alone
    starts = [int(line.split()[-1]) for line in counted(tmp_path) if line.startswith("long ")]
    assert max(starts) > 0, starts
