"""Runs on a real Slurm on this host: the tables equal those of one machine, whatever is killed."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from tests.clusters.grid_box import GridBox
from tests.clusters.slurm_box import SlurmBox, missing, slurm_box
from tests.conftest import PARTS, ROOT, start, tables

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]

EXPERIMENT = """
name: chain
seeds: [1, 2]
datasets:
  grey: {type: plain, images: 500}
generate:
  stuck: {type: trouble, data: grey, how: hang, unless: FREE, counter: COUNTER}
  long: {type: walk, data: grey, steps: 40, seconds: SECONDS, counter: COUNTER}
  after: {type: shift, data: long, noise: {type: drawn}, counter: COUNTER}
  a: {type: shift, data: grey, noise: {type: drawn}, seconds: 0.2, counter: COUNTER}
  b: {type: shift, data: a, noise: {type: drawn, like: a}, seconds: 0.2, counter: COUNTER}
evaluate:
  shade: {type: shade, examples: [grey, stuck, long, after, a, b]}
"""
ODD = 'my results\' "here"'
"""An outputs folder whose name a shell must not split."""
CLUSTER = """
type: slurm
workers: WORKERS
cores: 1
memory: 1GB
walltime: "WALLTIME"
grace: GRACE
interface: lo
"""


def text(folder: Path, free: Path = PARTS, seconds: float = 0.0) -> str:
    """The experiment, with its computations counted in a folder; every stage can end once ``free`` exists."""
    return EXPERIMENT.replace("COUNTER", f"{folder}/count").replace("FREE", str(free)).replace("SECONDS", str(seconds))


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmBox]:
    with slurm_box(tmp_path_factory.mktemp("slurm") / "box") as box:
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
def cluster(write: Callable[..., Path]) -> Path:
    return described(write, workers=2, walltime="00:10:00", grace=20)


def described(write: Callable[..., Path], **values: object) -> Path:
    """Write a cluster file."""
    text = CLUSTER
    for name, value in values.items():
        text = text.replace(name.upper(), str(value))
    return write(text, "cluster.yaml")


@pytest.fixture
def file(write: Callable[..., Path], tmp_path: Path) -> Path:
    return write(text(tmp_path, seconds=0.25))


Begin = Callable[[Path, Path, Path], subprocess.Popen[str]]


@pytest.fixture
def begin(box: SlurmBox) -> Iterator[Begin]:
    """Start a run of an experiment on a cluster; it ends with the test."""
    begun = []

    def begin(file: Path, cluster: Path, outputs: Path) -> subprocess.Popen[str]:
        begun.append(start(file, "--components", PARTS, "--outputs", outputs, "--on", cluster, **box.environment))
        return begun[-1]

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
            process.communicate()
    box.call(["scancel", "--user", str(os.getuid())])


def end(process: subprocess.Popen[str], outputs: Path, alone: Mapping[str, bytes], seconds: float = 240) -> str:
    output, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, output
    assert " 0 failed" in output
    assert tables(outputs / "chain") == alone
    return output


def counted(tmp_path: Path) -> list[str]:
    path = tmp_path / "count"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def long_stages_run(tmp_path: Path) -> bool:
    return sum(line.startswith("long ") for line in counted(tmp_path)) >= 2


def workers(box: SlurmBox | GridBox) -> list[psutil.Process]:
    """Return the worker processes in the jobs of a box."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "distributed.cli.dask_worker" in (process.info["cmdline"] or ()) and box.owns(process):
            found.append(process)
    return found


def submit_array(box: SlurmBox, file: Path, cluster: Path, outputs: Path) -> None:
    printing = start(file, "--components", PARTS, "--outputs", outputs, "--job-script", cluster, **box.environment)
    script, _ = printing.communicate(timeout=60)
    assert printing.returncode == 0, script
    job = outputs.with_suffix(".sh")
    job.write_text(script, encoding="utf-8")
    box.call(["sbatch", str(job)])


def first_steps(folder: Path) -> list[int]:
    """Return the step from which each attempt at a long stage started."""
    return [int(line.split()[-1]) for line in counted(folder) if line.startswith("long ")]


def test_run_on_slurm(
    begin: Begin, box: SlurmBox, file: Path, cluster: Path, tmp_path: Path, alone: Mapping[str, bytes]
) -> None:
    outputs = tmp_path / ODD
    end(begin(file, cluster, outputs), outputs, alone)
    assert "long.test seed=1 is on " in (outputs / "chain" / "log.txt").read_text(encoding="utf-8")
    box.wait(lambda: not box.jobs(), 30, "the end of the jobs")


def test_cancelled_jobs_save_checkpoints(
    begin: Begin, box: SlurmBox, file: Path, cluster: Path, tmp_path: Path, alone: Mapping[str, bytes]
) -> None:
    process = begin(file, cluster, tmp_path / "outputs")
    box.wait(lambda: long_stages_run(tmp_path), 60, "the long stages")
    time.sleep(2)
    box.call(["scancel", *box.jobs()])
    output = end(process, tmp_path / "outputs", alone)
    assert "interrupted; its checkpoint is saved" in output
    assert max(first_steps(tmp_path)) > 3, first_steps(tmp_path)


def test_killed_worker_repeats_only_its_stage(
    begin: Begin, box: SlurmBox, file: Path, cluster: Path, tmp_path: Path, alone: Mapping[str, bytes]
) -> None:
    process = begin(file, cluster, tmp_path / "outputs")
    box.wait(lambda: long_stages_run(tmp_path), 60, "the long stages")
    for worker in workers(box):
        worker.send_signal(signal.SIGKILL)
    end(process, tmp_path / "outputs", alone)
    done = counted(tmp_path)
    assert sum(line.startswith("a.") for line in done) <= 2 * 2 + 2, done


@pytest.mark.long
def test_stage_that_kills_its_workers_is_reported(
    begin: Begin, box: SlurmBox, cluster: Path, write: Callable[..., Path], tmp_path: Path
) -> None:
    file = write("""
        name: poison
        datasets: {grey: {type: plain}}
        generate: {poison: {type: trouble, data: grey, how: kill}}
        evaluate: {shade: {type: shade, examples: [grey, poison]}}
    """)
    process = begin(file, cluster, tmp_path / "outputs")
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 1, output
    with (tmp_path / "outputs" / "poison" / "failures.csv").open(encoding="utf-8-sig") as stream:
        (failure,) = csv.DictReader(stream)
    assert (
        "its worker process died 2 times (killed by SIGKILL, the job FAILED); its memory was last seen at"
        in failure["cause"]
    )
    log = Path(failure["log"]).read_text(encoding="utf-8")
    assert (
        len(
            re.findall(r"^process \d+ on \S+, job \d+, began .*, killed by SIGKILL, the job FAILED$", log, re.MULTILINE)
        )
        == 2
    )
    assert log.count("last words") == 2


@pytest.mark.long
def test_stage_killed_by_slurm_for_its_memory_is_retried_with_reduced_settings(
    begin: Begin,
    box: SlurmBox,
    cluster: Path,
    write: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slurm's report is replaced, since without control groups it does not limit memory."""
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    real = shutil.which("scontrol")
    scontrol.write_text(
        f'#!/bin/sh\n{real} "$@" | sed "s/JobState=FAILED/JobState=OUT_OF_MEMORY/; s/ExitCode=0:9/ExitCode=0:125/"\n',
        encoding="utf-8",
    )
    scontrol.chmod(0o755)
    monkeypatch.setitem(box.environment, "PATH", f"{scontrol.parent}:{box.environment['PATH']}")
    file = write("""
        name: hungry
        on_out_of_memory: {batch_size: /2}
        datasets: {grey: {type: plain}}
        generate: {light: {type: hungry, data: grey, room: 500, killed: true}}
        evaluate: {shade: {type: shade, examples: [grey, light]}}
    """)
    process = begin(file, cluster, tmp_path / "outputs")
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "light.test out of memory; retrying with batch_size 50 instead of 100" in output
    assert "light.test: out of memory, so it ran with batch_size 50 instead of 100" in output


@pytest.mark.long
def test_killed_runner_can_be_restarted(
    begin: Begin, box: SlurmBox, file: Path, cluster: Path, tmp_path: Path, alone: Mapping[str, bytes]
) -> None:
    process = begin(file, cluster, tmp_path / "outputs")
    box.wait(lambda: long_stages_run(tmp_path), 60, "the long stages")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    box.wait(lambda: not box.jobs(), 90, "the end of the jobs")
    end(begin(file, cluster, tmp_path / "outputs"), tmp_path / "outputs", alone)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('setup: ["echo no such module >&2; exit 3"]', "ended with exit code 3, the job FAILED"),
        pytest.param(
            'options: ["--partition=nowhere"]', "invalid partition specified: nowhere", marks=pytest.mark.long
        ),
    ],
    ids=["setup", "refused"],
)
def test_jobs_without_workers_end_the_run(
    begin: Begin, box: SlurmBox, write: Callable[..., Path], tmp_path: Path, line: str, message: str
) -> None:
    cluster = described(write, workers=2, walltime="00:10:00", grace=20)
    cluster.write_text(cluster.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    process = begin(write(text(tmp_path)), cluster, tmp_path / "outputs")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 4, output
    assert output.count(message) >= 3, output
    assert "3 jobs in a row" in output
    assert f"Resume with: python {ROOT / 'runner.py'}" in output
    assert "Traceback" not in output
    if line.startswith("setup"):
        assert re.search(r"job \d+ exited before its worker connected: .*; see its log \S+/temper-\d+\.log", output), (
            output
        )
        assert "no such module" in output
    assert (tmp_path / "outputs" / "chain" / "shade.csv").exists()
    box.wait(lambda: not box.output(["squeue", "-h"]).strip(), 30, "the end of the jobs")


@pytest.mark.long
def test_pending_jobs_are_waited_for(
    begin: Begin, box: SlurmBox, file: Path, cluster: Path, tmp_path: Path, alone: Mapping[str, bytes]
) -> None:
    box.call(["scontrol", "update", "PartitionName=main", "State=DOWN"])
    try:
        process = begin(file, cluster, tmp_path / "outputs")
        box.wait(
            lambda: box.output(["squeue", "-h", "-t", "PENDING", "-o", "%i"]).strip() != "", 60, "a job that waits"
        )
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=25)
    finally:
        box.call(["scontrol", "update", "PartitionName=main", "State=UP"])
    assert "ended before" not in end(process, tmp_path / "outputs", alone)


def test_array_job_of_shards(
    box: SlurmBox, file: Path, cluster: Path, tmp_path: Path, alone: Mapping[str, bytes]
) -> None:
    outputs = tmp_path / ODD
    submit_array(box, file, cluster, outputs)
    box.wait(lambda: long_stages_run(tmp_path), 60, "the long stages")
    time.sleep(1)
    box.call(["scancel", "--signal=TERM", "--batch", box.jobs()[0]])  # as before the end of the walltime
    box.wait(lambda: not box.output(["squeue", "-h"]).strip(), 240, "the end of the array")
    assert tables(outputs / "chain") == alone
    assert max(first_steps(tmp_path)) > 0


@pytest.mark.long
def test_walltime_limit_saves_checkpoints(
    begin: Begin, box: SlurmBox, write: Callable[..., Path], tmp_path: Path, alone: Mapping[str, bytes]
) -> None:
    """For jobs of a runner and for an array of shards, in parallel, since Slurm's resolution is a minute.

    The long stages outlast the time until their job is warned. The one that comes to no end keeps its job until Slurm
    ends it.
    """
    free = tmp_path / "free"
    cluster = described(write, workers=3, walltime="00:01:00", grace=10)
    jobs, shards = tmp_path / "jobs", tmp_path / "shards"
    for folder in (jobs, shards):
        folder.mkdir()
    files = {folder: write(text(folder, free, seconds=1.25), f"{folder.name}.yaml") for folder in (jobs, shards)}
    process = begin(files[jobs], cluster, jobs / "outputs")
    submit_array(box, files[shards], cluster, shards / "outputs")
    for folder in (jobs, shards):
        box.wait(lambda folder=folder: "stuck hang" in counted(folder), 90, "the stage that comes to no end")
    free.touch()
    output = end(process, jobs / "outputs", alone, seconds=600)
    assert "interrupted; its checkpoint is saved" in output
    assert "JobState=TIMEOUT" in box.output(["scontrol", "show", "jobs"])
    box.wait(lambda: not box.output(["squeue", "-h"]).strip(), 240, "the end of the array")
    assert tables(shards / "outputs" / "chain") == alone
    for folder in (jobs, shards):
        assert max(first_steps(folder)) > 3, first_steps(folder)
