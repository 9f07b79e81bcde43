"""What tasks of one component share, and that sharing changes no fingerprint."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from temper.engine.planning.cell_index import CellIndex, Result
from temper.engine.planning.task_graph import TaskGraph
from temper.engine.storage.digests import Digests, of_value

TEXT = """
name: shared
seeds: [1, 2]
axes:
  by: [0.1, 0.25]
  scale: [1, 2]
  source: [one, two]
  like: [two.test, one.train]
datasets:
  grey: {type: plain}
generate:
  lighter: {type: shift, data: grey, noise: {type: fixed, by: $by}}
  one: {type: shift, data: lighter, noise: {type: drawn}}
  two: {type: shift, data: lighter, noise: {type: drawn, like: grey}}
  three: {type: shift, data: $source, noise: {type: drawn, like: $like}}
evaluate:
  by_examples: {type: significance, of: shade, metric: shade, compare: examples, baseline: two}
  by_shift: {type: significance, of: shade, metric: shade, compare: by}
  shade: {type: shade, examples: [one, two, grey, three, three.validation]}
  scaled: {type: shade, examples: [one, $source], scale: $scale}
"""

TASKS, GOLDEN = 120, "d9af1e9ef76731c2211a9336"
"""As they were when every task was computed on its own. Another digest means that all stores are recomputed."""


@pytest.fixture
def made(graph: Callable[..., TaskGraph], monkeypatch: pytest.MonkeyPatch) -> TaskGraph:
    # Digests of code aside, which change with the code.
    monkeypatch.setattr(Digests, "code", lambda self, module: module)
    return graph(TEXT)


def test_fingerprints_are_what_they_were(made: TaskGraph) -> None:
    assert len(made.tasks) == TASKS
    assert of_value([[f, task.label, list(task.inputs)] for f, task in made.tasks.items()]) == GOLDEN


def test_a_fingerprint_is_the_digest_of_the_ingredients(made: TaskGraph) -> None:
    for fingerprint, task in made.tasks.items():
        assert of_value(task.ingredients) == fingerprint


def test_tasks_at_many_points_share_what_does_not_depend_on_them(made: TaskGraph) -> None:
    bounds = {id(task.bound) for task in made.tasks.values() if task.stage == "one"}
    assert len(bounds) == 3  # one for each part
    assert len({id(task.bound) for task in made.tasks.values() if task.stage == "three"}) == 2 * 2 * 2


def test_a_reference_may_differ_along_an_axis(made: TaskGraph) -> None:
    read = {
        (task.point["source"], task.point["like"]): set(task.inputs)
        for task in made.tasks.values()
        if task.stage == "three" and task.part == "test"
    }
    assert read["one", "two.test"] == {"one.test", "two.test"}
    assert read["two", "one.train"] == {"two.test", "one.train"}


def test_cells_are_found_by_their_place() -> None:
    cells = [
        Result("e", point, {}, str(number))
        for number, point in enumerate([{"a": 1}, {"a": 1, "b": 1}, {}, {"b": 2, "a": 1}, {"a": 2}, {"c": 7}])
    ]
    index = CellIndex(cells)

    def found(**point: int) -> list[int]:
        return [number for number, _ in index.at(point)]

    assert found(a=1) == [0, 1, 2, 3, 5]
    assert found(a=2) == [2, 4, 5]
    assert found(a=1, b=2) == [0, 2, 3, 5]
    assert found(c=8) == [0, 1, 2, 3, 4]
    assert found() == [0, 1, 2, 3, 4, 5]
