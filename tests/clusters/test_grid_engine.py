"""Runs on a real Grid Engine on this host: the tables equal those of one machine, whatever is killed."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.clusters.grid_box import GridBox, grid_box, missing
from tests.clusters.slurm_box import SlurmBox
from tests.clusters.test_slurm import ODD, first_steps, long_stages_run, text, workers
from tests.conftest import PARTS, start, tables

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.skipif(bool(missing()), reason=missing())]

CLUSTER = """
type: sge
workers: 2
memory: 8GB
walltime: "00:10:00"
interface: lo
"""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GridBox]:
    with grid_box(tmp_path_factory.mktemp("sge") / "box") as box:
        yield box


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """The tables of a run on one machine."""
    folder = tmp_path_factory.mktemp("alone")
    file = folder / "experiment.yaml"
    file.write_text(text(folder), encoding="utf-8")
    process = start(file, "--components", PARTS, "--outputs", folder / "outputs")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return tables(folder / "outputs" / "chain")


@pytest.fixture
def file(write: Callable[..., Path], tmp_path: Path) -> Path:
    return write(text(tmp_path, seconds=0.25))


@pytest.fixture
def cluster(write: Callable[..., Path]) -> Path:
    return write(CLUSTER, "cluster.yaml")


@pytest.fixture
def process(box: GridBox, file: Path, cluster: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run with two jobs; it ends with the test."""
    process = start(file, "--components", PARTS, "--outputs", tmp_path / ODD, "--on", cluster, **box.environment)
    yield process
    if process.poll() is None:
        process.kill()
        process.communicate()
    box.call(["qdel", "-u", "*"])


def end(process: subprocess.Popen[str], outputs: Path, alone: Mapping[str, bytes]) -> str:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert " 0 failed" in output
    assert tables(outputs / "chain") == alone
    return output


def test_run_survives_killed_workers(
    process: subprocess.Popen[str], box: GridBox, tmp_path: Path, alone: Mapping[str, bytes]
) -> None:
    SlurmBox.wait(lambda: long_stages_run(tmp_path), 90, "the long stages")
    assert len(box.jobs()) == 2
    for worker in workers(box):
        worker.send_signal(signal.SIGKILL)
    end(process, tmp_path / ODD, alone)
    SlurmBox.wait(lambda: not box.jobs(), 60, "the end of the jobs")


def test_deleted_jobs_save_checkpoints(
    process: subprocess.Popen[str], box: GridBox, tmp_path: Path, alone: Mapping[str, bytes]
) -> None:
    SlurmBox.wait(lambda: long_stages_run(tmp_path), 90, "the long stages")
    time.sleep(2)
    box.call(["qdel", *box.jobs()])
    assert "interrupted; its checkpoint is saved" in end(process, tmp_path / ODD, alone)
    assert max(first_steps(tmp_path)) > 3, first_steps(tmp_path)


def test_array_job_of_shards(
    box: GridBox, file: Path, cluster: Path, tmp_path: Path, alone: Mapping[str, bytes]
) -> None:
    outputs = tmp_path / ODD
    printing = start(file, "--components", PARTS, "--outputs", outputs, "--job-script", cluster, **box.environment)
    script, _ = printing.communicate(timeout=60)
    assert printing.returncode == 0, script
    (tmp_path / "job.sh").write_text(script, encoding="utf-8")
    assert box.call(["qsub", str(tmp_path / "job.sh")]) == 0
    SlurmBox.wait(lambda: long_stages_run(tmp_path), 90, "the long stages")
    SlurmBox.wait(lambda: not box.jobs("prs"), 240, "the end of the array")
    assert tables(outputs / "chain") == alone
