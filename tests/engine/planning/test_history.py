"""What is remembered of earlier runs, in the form it has now and the one it had before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from temper.core.artefacts import Examples, write_json
from temper.core.errors import SpecError
from temper.engine.planning.history import LAST, last_run, referred, write_last_run
from temper.engine.planning.task_graph import TaskGraph
from temper.engine.storage import garbage_collection
from temper.engine.storage.garbage_collection import collect_garbage
from temper.engine.storage.store import STORE, Store

TEXT = """
name: twins
datasets: {grey: {type: plain}}
generate:
  random: {type: shift, data: grey, noise: {type: drawn}}
evaluate:
  shade: {type: shade, examples: [random, random.train]}
"""


@pytest.fixture
def made(graph: Callable[..., TaskGraph]) -> TaskGraph:
    return graph(TEXT)


def test_what_was_written_is_read(made: TaskGraph, tmp_path: Path) -> None:
    write_last_run(tmp_path, made.tasks.values())
    found = last_run(tmp_path)
    for task in made.tasks.values():
        if not task.label.startswith("shade"):
            assert found[task.label] == {"fingerprint": task.fingerprint, "ingredients": task.ingredients}
    assert set(found) == set(json.loads((tmp_path / LAST).read_text(encoding="utf-8")))


def test_tasks_of_one_label_are_all_listed(made: TaskGraph, tmp_path: Path) -> None:
    labels = [task.label for task in made.tasks.values()]
    assert len(set(labels)) < len(labels)
    write_last_run(tmp_path, made.tasks.values())
    assert list(referred(tmp_path)) == list(made.tasks)


def test_gc_keeps_tasks_of_one_label(made: TaskGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage_collection, "MIN_AGE", -1.0)
    write_last_run(tmp_path / "twins", made.tasks.values())
    store = Store(tmp_path / STORE)
    for fingerprint in made.tasks:
        store.publish(fingerprint, empty(), {})
    assert collect_garbage(tmp_path)[0] == 0
    assert store.present(made.tasks) == set(made.tasks)


def test_a_file_of_an_earlier_version_is_read(made: TaskGraph, tmp_path: Path) -> None:
    entries = {w.label: {"fingerprint": w.fingerprint, "ingredients": w.ingredients} for w in made.tasks.values()}
    write_json(tmp_path / LAST, entries)
    assert dict(last_run(tmp_path)) == entries
    assert list(referred(tmp_path)) == [entry["fingerprint"] for entry in entries.values()]


@pytest.mark.parametrize("text", ["", "{", "{\n", "[]", "null", '{\n"torn'])
def test_a_damaged_file_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / LAST).write_text(text, encoding="utf-8")
    assert dict(last_run(tmp_path)) == {}
    with pytest.raises(ValueError, match=r"."):
        list(referred(tmp_path))


def test_gc_removes_nothing_where_it_cannot_tell_what_is_needed(
    made: TaskGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage_collection, "MIN_AGE", -1.0)
    write_last_run(tmp_path / "twins", made.tasks.values())
    for fingerprint in made.tasks:
        Store(tmp_path / STORE).publish(fingerprint, empty(), {})
    whole = (tmp_path / "twins" / LAST).read_bytes()
    for size in (1, len(whole) // 2, whole.rindex(b"\n}")):
        (tmp_path / "twins" / LAST).write_bytes(whole[:size])
        with pytest.raises(SpecError, match="is damaged"):
            collect_garbage(tmp_path)
    assert Store(tmp_path / STORE).present(made.tasks) == set(made.tasks)
    write_last_run(tmp_path / "twins", made.tasks.values())
    assert (tmp_path / "twins" / LAST).read_bytes() == whole


def test_no_tasks_are_no_entries(tmp_path: Path) -> None:
    write_last_run(tmp_path, [])
    assert dict(last_run(tmp_path)) == {}


def test_an_equal_file_is_left_alone(made: TaskGraph, tmp_path: Path) -> None:
    write_last_run(tmp_path, made.tasks.values())
    before = (tmp_path / LAST).stat().st_ino
    write_last_run(tmp_path, made.tasks.values())
    assert (tmp_path / LAST).stat().st_ino == before
    write_last_run(tmp_path, list(made.tasks.values())[:2])
    assert list(referred(tmp_path)) == list(made.tasks)[:2]


def empty() -> Examples:
    import numpy as np

    return Examples(x=np.zeros((0, 1, 1, 1), np.float32), y=np.zeros(0, np.int64), index=np.zeros(0, np.int64))
