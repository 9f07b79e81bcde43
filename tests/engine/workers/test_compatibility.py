"""A worker objects to a run whose store, code, components, files, packages, backend or threads are not its own."""

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
    """What an earlier run remembered of the digests of modules."""
    path = tmp_path_factory.mktemp("memory") / "digests.json"
    digests = Digests(path)
    for name in [*sys.modules, *digests.closure("temper.engine.workers.compatibility", plumbing=True)]:
        if name.partition(".")[0] == "temper":
            digests.module(name)
    digests.save_cache()
    return path


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, memory: Path) -> Iterator[None]:
    """A process that has looked at no module yet."""
    (tmp_path / "store").mkdir()
    for folder in (tmp_path, tmp_path / "store"):
        shutil.copy(memory, folder)
    monkeypatch.setattr(module, "_OWN", [])
    before = dict(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - set(before[0]):
        if name.partition(".")[0] in ("mine", "yours"):
            del sys.modules[name]
    sys.path[:] = before[1]


@pytest.fixture
def terms(graph: Callable[..., TaskGraph], tmp_path: Path) -> WorkerRequirements:
    found = WorkerRequirements.of(graph(PLAIN), [PARTS], tmp_path)
    found.prove()
    return found


def test_the_runner_itself_objects_to_nothing(terms: WorkerRequirements) -> None:
    assert terms.objection() == ""
    assert WorkerRequirements(**asdict(terms)).objection() == ""


def test_paths_are_absolute(graph: Callable[..., TaskGraph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    terms = WorkerRequirements.of(graph(PLAIN), [Path("parts")], Path("outputs/.store"))
    assert terms.root == str(tmp_path / "outputs" / ".store")
    assert terms.folders == (str(tmp_path / "parts"),)


def test_what_workers_start_with_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEMPER_DATA", "data")
    monkeypatch.setenv("PYTHONPATH", f"lib{os.pathsep}{os.pathsep}/other")
    found = worker_env(Path("outputs/.store"))
    assert found.folder == tmp_path / "outputs" / ".store" / ".dask"
    assert found.environment["TEMPER_DATA"] == str(tmp_path / "data")
    assert found.environment["PYTHONPATH"].split(os.pathsep)[1:] == [str(tmp_path / "lib"), "/other"]


def test_another_store_at_the_same_place(terms: WorkerRequirements, tmp_path: Path) -> None:
    terms.proof.unlink()
    assert terms.objection().startswith(f"it does not see the runner's store {tmp_path}; ")


@pytest.mark.parametrize(("runner", "worker"), [("0", "1"), ("0", None), (None, "1")])
def test_another_environment(
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
    terms = WorkerRequirements.of(graph(PLAIN), [PARTS], tmp_path)
    terms.prove()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")  # each worker's own
    assert terms.objection() == ""
    set_to(worker)
    assert terms.objection().startswith(
        "its libraries compute differently from the runner's by TF_ENABLE_ONEDNN_OPTS; "
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
def test_other_code(terms: WorkerRequirements, name: str) -> None:
    name = "parts.plain" if name == "tests.parts.plain" else name
    assert name in terms.modules
    other = replace(terms, modules={**terms.modules, name: "0"})
    assert other.objection() == f"it has other code than the runner in {name}; give it the runner's code and restart it"


def test_code_that_the_worker_lacks(terms: WorkerRequirements) -> None:
    other = replace(terms, modules={**terms.modules, "temper.core.newer": "1"})
    assert "other code than the runner in temper.core.newer" in other.objection()


def test_a_component_that_is_newer_than_the_process(terms: WorkerRequirements) -> None:
    assert "parts.plain" in terms.homes
    other = replace(terms, homes=[*terms.homes, "generators.newer"])
    assert "other code than the runner in generators.newer" in other.objection()


def test_versions(terms: WorkerRequirements) -> None:
    alike = replace(
        terms, versions={**terms.versions, "torch": terms.versions["torch"] + "+cu999", "python": "3.11.99"}
    )
    assert alike.objection() == ""
    for name, version in (("numpy", "1.0"), ("torch", "1.0"), ("python", "3.9.1")):
        other = replace(terms, versions={**terms.versions, name: version})
        assert f"{name} " in other.objection()
        assert other.objection().startswith("it has other versions than the runner: ")
    assert "unheard missing instead of 1.0" in replace(terms, versions={**terms.versions, "unheard": "1.0"}).objection()


def test_the_backend(terms: WorkerRequirements, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "jax" if terms.backend != "jax" else "torch"
    monkeypatch.setenv("KERAS_BACKEND", other)
    assert terms.objection().startswith(f"its Keras backend is {other}, the runner's {terms.backend}; ")
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    assert "KERAS_BACKEND: expected " in terms.objection()


def test_a_framework_that_was_started_with_other_threads(
    terms: WorkerRequirements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(threads._STATE, threads._FRAMEWORK, terms.threads)
    assert terms.objection() == ""
    monkeypatch.setitem(threads._STATE, threads._FRAMEWORK, terms.threads + 1)
    assert (
        f"started with {terms.threads + 1} threads, and this experiment computes on {terms.threads}"
        in terms.objection()
    )


def test_users_components_that_are_not_there(terms: WorkerRequirements, tmp_path: Path) -> None:
    other = replace(terms, folders=[str(tmp_path / "nowhere")])
    assert "it cannot load the components of this run: " in other.objection()
    assert "no such folder" in other.objection()


def test_users_components_and_what_they_import(write: Callable[..., Path], tmp_path: Path) -> None:
    terms = own_terms(write, tmp_path, "mine")
    assert terms.objection() == ""
    module._OWN.clear()  # another process, which begins after the change
    (tmp_path / "mine" / "helper.py").write_text("FACTOR = 3\n", encoding="utf-8")
    assert "other code than the runner in mine.helper; " in terms.objection()


def test_a_process_has_the_code_it_began_with(write: Callable[..., Path], tmp_path: Path) -> None:
    """Whatever its files say by now; a runner that begins later reads them."""
    before = own_terms(write, tmp_path, "yours")
    assert before.objection() == ""
    (tmp_path / "yours" / "helper.py").write_text("FACTOR = 3\n", encoding="utf-8")
    assert before.objection() == ""
    assert "other code than the runner in yours.helper; " in own_terms(write, tmp_path, "yours").objection()


def own_terms(write: Callable[..., Path], tmp_path: Path, name: str) -> WorkerRequirements:
    """Return the terms of an experiment with a user's component in a folder of that name."""
    folder = tmp_path / name
    if not folder.exists():
        folder.mkdir()
        (folder / "part.py").write_text(OWN_PART.format(folder=name), encoding="utf-8")
        (folder / "helper.py").write_text("FACTOR = 2\n", encoding="utf-8")
    file = write("name: a\ndatasets: {grey: {type: plain}}\ngenerate: {o: {type: own, data: grey}}")
    experiment = load(file, discover([PARTS, folder]))
    terms = WorkerRequirements.of(
        TaskGraph(experiment, Digests(tmp_path / "digests.json")), [PARTS, folder], tmp_path / "store"
    )
    terms.prove()
    return terms


def test_files(graph: Callable[..., TaskGraph], tmp_path: Path) -> None:
    (tmp_path / "by.txt").write_text("0.5", encoding="utf-8")
    text = """
        name: files
        datasets: {grey: {type: plain}}
        generate: {lighter: {type: shift, data: grey, noise: {type: written, path: by.txt}}}
    """
    terms = WorkerRequirements.of(graph(text), [PARTS], tmp_path)
    terms.prove()
    assert terms.objection() == ""
    module._OWN.clear()
    (tmp_path / "by.txt").write_text("0.25", encoding="utf-8")
    assert "what 'shift' reads differs from what the runner has: " in terms.objection()
    assert str(tmp_path / "by.txt") in terms.objection()
    (tmp_path / "by.txt").unlink()
    assert f"it does not have {tmp_path}/by.txt, which 'shift' reads" in terms.objection()


def test_a_check_that_breaks_is_an_objection(terms: WorkerRequirements) -> None:
    assert "it could not be checked: " in replace(terms, files=[("nowhere", {"type": "x"}, ["0"])]).objection()
