"""A worker rejects a run whose store, code, components, files, packages, backend or threads differ from its own."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from temper.engine.catalogue.discovery import discover
from temper.engine.language.experiment_file import load
from temper.engine.planning.task_graph import TaskGraph
from temper.engine.storage.digests import Digests
from temper.engine.workers import compatibility as module
from temper.engine.workers.compatibility import WorkerRequirements
from temper.engine.workers.worker_env import worker_env
from temper.system import threads
from tests.conftest import PARTS, PLAIN

OWN_PART = """
from dataclasses import dataclass
from temper.core.families import Generator
from {folder}.helper import FACTOR
from typing import Annotated
from temper.core.artefacts import Examples
from temper.core.component import Ref

@dataclass(frozen=True, kw_only=True)
class Own(Generator):
    tag = "own"
    data: Annotated[Ref[Examples], "images"]

    def produce(self, run):
        return FACTOR
"""


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digest cache of an earlier run."""
    path = tmp_path_factory.mktemp("memory") / "digests.json"
    digests = Digests(path)
    for name in [*sys.modules, *digests.closure("temper.engine.workers.compatibility", plumbing=True)]:
        if name.partition(".")[0] == "temper":
            digests.module(name)
    digests.save_cache()
    return path


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, memory: Path) -> Iterator[None]:
    """A process without any digests yet."""
    (tmp_path / "store").mkdir()
    for folder in (tmp_path, tmp_path / "store"):
        shutil.copy(memory, folder)
    monkeypatch.setattr(module, "_OWN_DIGESTS", [])
    before = dict(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - set(before[0]):
        if name.partition(".")[0] in ("mine", "yours"):
            del sys.modules[name]
    sys.path[:] = before[1]


@pytest.fixture
def requirements(graph: Callable[..., TaskGraph], tmp_path: Path) -> WorkerRequirements:
    found = WorkerRequirements.of(graph(PLAIN), [PARTS], tmp_path)
    found.write_store_marker()
    return found


def test_runner_is_compatible_with_itself(requirements: WorkerRequirements) -> None:
    assert requirements.incompatibility() == ""
    assert WorkerRequirements(**asdict(requirements)).incompatibility() == ""


def test_paths_are_absolute(graph: Callable[..., TaskGraph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    requirements = WorkerRequirements.of(graph(PLAIN), [Path("parts")], Path("outputs/.store"))
    assert requirements.root == str(tmp_path / "outputs" / ".store")
    assert requirements.folders == (str(tmp_path / "parts"),)


def test_worker_environment_has_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEMPER_DATA", "data")
    monkeypatch.setenv("PYTHONPATH", f"lib{os.pathsep}{os.pathsep}/other")
    found = worker_env(Path("outputs/.store"))
    assert found.folder == tmp_path / "outputs" / ".store" / ".dask"
    assert found.environment["TEMPER_DATA"] == str(tmp_path / "data")
    assert found.environment["PYTHONPATH"].split(os.pathsep)[1:] == [str(tmp_path / "lib"), "/other"]


def test_other_store_at_the_same_path_is_incompatible(requirements: WorkerRequirements, tmp_path: Path) -> None:
    requirements.store_marker.unlink()
    assert requirements.incompatibility().startswith(f"it cannot access the runner's store {tmp_path}; ")


@pytest.mark.parametrize(("runner", "worker"), [("0", "1"), ("0", None), (None, "1")])
def test_other_environment_is_incompatible(
    graph: Callable[..., TaskGraph],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    runner: str | None,
    worker: str | None,
) -> None:
    def set_to(value: str | None) -> None:
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
        if value is not None:
            monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", value)

    set_to(runner)
    requirements = WorkerRequirements.of(graph(PLAIN), [PARTS], tmp_path)
    requirements.write_store_marker()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")  # differs from worker to worker
    assert requirements.incompatibility() == ""
    set_to(worker)
    assert requirements.incompatibility().startswith(
        "its environment variables TF_ENABLE_ONEDNN_OPTS, which change numerical results, differ from the runner's; "
    )


@pytest.mark.parametrize(
    "name",
    [
        "tests.parts.plain",
        "temper.core.run",
        "temper.core.artefacts",
        "temper.engine.running.task",
        "temper.engine.storage.store",
    ],
)
def test_other_code_is_incompatible(requirements: WorkerRequirements, name: str) -> None:
    name = "parts.plain" if name == "tests.parts.plain" else name
    assert name in requirements.modules
    other = replace(requirements, modules={**requirements.modules, name: "0"})
    assert (
        other.incompatibility()
        == f"its code differs from the runner's in {name}; give it the runner's code and restart it"
    )


def test_missing_code_is_incompatible(requirements: WorkerRequirements) -> None:
    other = replace(requirements, modules={**requirements.modules, "temper.core.newer": "1"})
    assert "its code differs from the runner's in temper.core.newer" in other.incompatibility()


def test_component_newer_than_the_process_is_incompatible(requirements: WorkerRequirements) -> None:
    assert "parts.plain" in requirements.component_modules
    other = replace(requirements, component_modules=[*requirements.component_modules, "generators.newer"])
    assert "its code differs from the runner's in generators.newer" in other.incompatibility()


def test_other_versions_are_incompatible(requirements: WorkerRequirements) -> None:
    alike = replace(
        requirements,
        versions={**requirements.versions, "torch": requirements.versions["torch"] + "+cu999", "python": "3.11.99"},
    )
    assert alike.incompatibility() == ""
    for name, version in (("numpy", "1.0"), ("torch", "1.0"), ("python", "3.9.1")):
        other = replace(requirements, versions={**requirements.versions, name: version})
        assert f"{name} " in other.incompatibility()
        assert other.incompatibility().startswith("its versions differ from the runner's: ")
    assert (
        "unheard missing instead of 1.0"
        in replace(requirements, versions={**requirements.versions, "unheard": "1.0"}).incompatibility()
    )


def test_other_backend_is_incompatible(requirements: WorkerRequirements, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "jax" if requirements.backend != "jax" else "torch"
    monkeypatch.setenv("KERAS_BACKEND", other)
    assert requirements.incompatibility().startswith(
        f"its Keras backend is {other}, the runner's is {requirements.backend}; "
    )
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    assert "KERAS_BACKEND: expected " in requirements.incompatibility()


def test_framework_started_with_other_threads_is_incompatible(
    requirements: WorkerRequirements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(threads._STATE, threads._FRAMEWORK, requirements.threads)
    assert requirements.incompatibility() == ""
    monkeypatch.setitem(threads._STATE, threads._FRAMEWORK, requirements.threads + 1)
    assert (
        f"started with {requirements.threads + 1} threads, but this experiment uses {requirements.threads}"
        in requirements.incompatibility()
    )


def test_missing_user_components_are_incompatible(requirements: WorkerRequirements, tmp_path: Path) -> None:
    other = replace(requirements, folders=[str(tmp_path / "nowhere")])
    assert "it cannot load the components of this run: " in other.incompatibility()
    assert "no such folder" in other.incompatibility()


def test_user_components_and_their_imports_are_compared(write: Callable[..., Path], tmp_path: Path) -> None:
    requirements = own_requirements(write, tmp_path, "mine")
    assert requirements.incompatibility() == ""
    module._OWN_DIGESTS.clear()  # another process, which starts after the change
    (tmp_path / "mine" / "helper.py").write_text("FACTOR = 3\n", encoding="utf-8")
    assert "its code differs from the runner's in mine.helper; " in requirements.incompatibility()


def test_process_keeps_the_code_it_started_with(write: Callable[..., Path], tmp_path: Path) -> None:
    """Whatever its files contain now; a runner that starts later reads them."""
    before = own_requirements(write, tmp_path, "yours")
    assert before.incompatibility() == ""
    (tmp_path / "yours" / "helper.py").write_text("FACTOR = 3\n", encoding="utf-8")
    assert before.incompatibility() == ""
    assert (
        "its code differs from the runner's in yours.helper; "
        in own_requirements(write, tmp_path, "yours").incompatibility()
    )


def own_requirements(write: Callable[..., Path], tmp_path: Path, name: str) -> WorkerRequirements:
    """Return the requirements of an experiment with a user component in a folder of that name."""
    folder = tmp_path / name
    if not folder.exists():
        folder.mkdir()
        (folder / "part.py").write_text(OWN_PART.format(folder=name), encoding="utf-8")
        (folder / "helper.py").write_text("FACTOR = 2\n", encoding="utf-8")
    file = write("name: a\ndatasets: {grey: {type: plain}}\ngenerate: {o: {type: own, data: grey}}")
    experiment = load(file, discover([PARTS, folder]))
    requirements = WorkerRequirements.of(
        TaskGraph(experiment, Digests(tmp_path / "digests.json")), [PARTS, folder], tmp_path / "store"
    )
    requirements.write_store_marker()
    return requirements


def test_other_files_are_incompatible(graph: Callable[..., TaskGraph], tmp_path: Path) -> None:
    (tmp_path / "by.txt").write_text("0.5", encoding="utf-8")
    text = """
        name: files
        datasets: {grey: {type: plain}}
        generate: {lighter: {type: shift, data: grey, noise: {type: written, path: by.txt}}}
    """
    requirements = WorkerRequirements.of(graph(text), [PARTS], tmp_path)
    requirements.write_store_marker()
    assert requirements.incompatibility() == ""
    module._OWN_DIGESTS.clear()
    (tmp_path / "by.txt").write_text("0.25", encoding="utf-8")
    assert "the files that 'shift' reads differ from the runner's: " in requirements.incompatibility()
    assert str(tmp_path / "by.txt") in requirements.incompatibility()
    (tmp_path / "by.txt").unlink()
    assert f"it lacks {tmp_path}/by.txt, which 'shift' reads" in requirements.incompatibility()


def test_failing_check_is_incompatible(requirements: WorkerRequirements) -> None:
    assert (
        "the compatibility check failed: "
        in replace(requirements, files=[("nowhere", {"type": "x"}, ["0"])]).incompatibility()
    )
