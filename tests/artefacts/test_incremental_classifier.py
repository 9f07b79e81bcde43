"""Class-incremental classifiers: predictions among rivals, earlier states, storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.artefacts.incremental_classifier import (
    Incremental,
    flat_weights,
    predict_among_rivals,
    rivals_among,
    rivals_within_tasks,
)
from temper.system import backend

TASKS = ((0, 1), (2, 3))
X = np.ones((4, 1, 1, 1), np.float32)
Y = np.arange(4)


def model(*logits: float) -> Any:
    keras = backend.keras()
    network = keras.Sequential([keras.Input((1, 1, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    network.set_weights([np.array([logits], np.float32), np.zeros(4)])
    return network


def learnt(task_given: bool, steps: tuple[int, ...] = (1, 2)) -> Incremental:
    """A model that predicts 1 after the first step, and 2 after the second."""
    earlier = flat_weights(model(1, 5, 9, 0))[None][: len(steps) - 1]
    return Incremental(model(1, 2, 9, 3), TASKS, steps, task_given, earlier)


def test_rivals_are_the_classes_seen_or_those_of_a_task() -> None:
    np.testing.assert_array_equal(rivals_among([0, 2], 3), [[True, False, True]] * 3)
    np.testing.assert_array_equal(
        rivals_within_tasks(((2, 0), (1,))), [[True, False, True], [False, True, False], [True, False, True]]
    )


@pytest.mark.parametrize(
    ("task_given", "first", "last"), [(False, [1, 1, 1, 1], [2, 2, 2, 2]), (True, [1, 1, 2, 2], [1, 1, 2, 2])]
)
def test_predictions_are_among_the_rivals(task_given: bool, first: list[int], last: list[int]) -> None:
    incremental = learnt(task_given)
    assert predict_among_rivals(incremental.after(0), X, Y, incremental.rivals(0)).tolist() == first
    assert predict_among_rivals(incremental.after(1), X, Y, incremental.rivals()).tolist() == last
    assert incremental.predict(X).tolist() == [2, 2, 2, 2], "who gives no task gets the largest of all logits"


def test_earlier_states_have_their_weights() -> None:
    incremental = learnt(False)
    np.testing.assert_array_equal(incremental.after(0).logits(X[:1]), [[1, 5, 9, 0]])
    np.testing.assert_array_equal(incremental.after(1).logits(X[:1]), [[1, 2, 9, 3]])
    assert incremental.logits(X[:1]).tolist() == [[1, 2, 9, 3]], "looking back changes nothing"


@pytest.mark.parametrize("steps", [(1, 2), (2,)])
def test_a_stored_artefact_is_restored(steps: tuple[int, ...], tmp_path: Path) -> None:
    written = learnt(True, steps)
    written.save(tmp_path)
    read = Incremental.load(tmp_path)
    assert (read.tasks, read.steps, read.task_given) == (TASKS, steps, True)
    np.testing.assert_array_equal(read.earlier, written.earlier)
    for step in range(len(steps)):
        np.testing.assert_array_equal(read.after(step).logits(X), written.after(step).logits(X))
