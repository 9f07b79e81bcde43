"""Threads: one number for all libraries of a process, whatever the environment says and however a run is spread."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from temper.engine.command_line.main import main
from temper.engine.language.experiment import Experiment
from temper.engine.planning.task_graph import TaskGraph
from temper.engine.running.task import TaskSpec
from temper.system import threads
from tests.conftest import PARTS, PLAIN, tables


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Leave the process with the number that the other tests compute on."""
    monkeypatch.setattr(threads, "_STATE", {})
    for variable in threads._VARIABLES:
        monkeypatch.setenv(variable, "7")
    yield
    threads._STATE.clear()
    threads.use(threads.DEFAULT)


def blas() -> set[int]:
    """Return on how many threads libraries compute that are loaded."""
    np.ones((2, 2)) @ np.ones((2, 2))
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_it_is_one_unless_said_otherwise_and_overrides_the_environment() -> None:
    assert threads.count() == 1
    threads.use(1)
    assert blas() <= {1}
    threads.use(2)
    assert threads.count() == 2
    assert {os.environ[variable] for variable in threads._VARIABLES} == {"2"}
    assert blas() <= {2}, "libraries that are loaded already follow"


def test_a_framework_keeps_the_number_it_was_loaded_with() -> None:
    threads.use(3)
    threads.fix()
    threads.use(3)
    with pytest.raises(RuntimeError, match="computes on 3 threads and cannot change to 4"):
        threads.use(4)
    assert threads.count() == 3


def test_tasks_carry_it_and_all_but_data_sets_depend_on_it(
    experiment: Callable[..., Experiment], graph: Callable[..., TaskGraph], catalogue: Any
) -> None:
    assert experiment(PLAIN).threads == 1
    assert experiment(PLAIN, "threads=2.0").threads == 2
    one, two = graph(PLAIN), graph("threads: 2" + PLAIN)
    assert {TaskSpec.of(work, "run", catalogue).threads for work in two.tasks.values()} == {2}
    assert {one.tasks[same].stage for same in set(one.tasks) & set(two.tasks)} == {"grey"}


@pytest.mark.parametrize("value", ["0", "two", "1.5", "[1]"])
def test_it_is_a_whole_number(run: Callable[..., tuple[int, str]], write: Callable[..., Path], value: str) -> None:
    code, said = run(write(f"threads: {value}" + PLAIN), "--plan")
    assert code == 2
    assert "threads" in said


def test_one_process_computes_on_one_number(run: Callable[..., tuple[int, str]], write: Callable[..., Path]) -> None:
    one, two = write(PLAIN, "one.yaml"), write(PLAIN.replace("name: plain", "name: two\nthreads: 2"), "two.yaml")
    code, said = run(one, two, "--plan")
    assert code == 2
    assert "the process uses 1 threads for" in said
    assert run(one, two, "--plan", "--jobs", "2")[0] == 0


def test_jobs_need_as_many_cores(
    run: Callable[..., tuple[int, str]], write: Callable[..., Path], monkeypatch: Any
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "/bin/true")
    cluster = write("type: slurm\nworkers: 1\ncores: 2\nmemory: 1GB\nwalltime: '01:00:00'\n", "cluster.yaml")
    assert run(write("threads: 2" + PLAIN), "--plan", "--on", cluster)[0] == 0
    code, said = run(write("threads: 3" + PLAIN), "--plan", "--on", cluster)
    assert code == 2
    assert "expected at most the 2 cores of each" in said


THREADED = """
name: threaded
threads: 3
datasets:
  grey: {type: plain}
evaluate:
  used: {type: threads_used, examples: grey}
"""


def results(write: Callable[..., Path], outputs: Path, text: str, jobs: int) -> bytes:
    """Return the rows of an experiment that is run anew by so many processes."""
    folder = outputs / str(jobs)
    assert main([str(write(text)), "--jobs", str(jobs), "--components", str(PARTS), "--outputs", str(folder)]) == 0
    return tables(folder / "threaded")["results.csv"]


@pytest.mark.slow
def test_every_process_of_a_run_computes_on_as_many_for_any_jobs(write: Callable[..., Path], tmp_path: Path) -> None:
    alone, shared = (results(write, tmp_path, THREADED, jobs) for jobs in (1, 2))
    assert alone == shared
    assert alone.count(b",3.0,") == 3


CONVOLUTION = """
name: threaded
seeds: [1, 2]
datasets:
  digits: {type: digits, resize: 20, train_size: 300, test_size: 100}
targets:
  net: {type: convnet, dataset: digits, epochs: 3}
generate:
  pgd: {type: pgd, model: net, eps: 0.1, eps_step: 0.02, max_iter: 5}
evaluate:
  robustness: {type: robustness_matrix, models: [net], examples: [digits, pgd], protocol: transfer}
"""


@pytest.mark.long
def test_what_a_network_learns_does_not_depend_on_the_jobs(write: Callable[..., Path], tmp_path: Path) -> None:
    alone, shared = (results(write, tmp_path, CONVOLUTION, jobs) for jobs in (1, 2))
    assert alone == shared
