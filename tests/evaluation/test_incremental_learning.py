"""The accuracy matrix of a model that learns task by task, and what is made of it, worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.artefacts.incremental_classifier import Incremental, flat_weights
from temper.core.artefacts import Examples, Row
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.core.run import DataOrigin, Run
from temper.evaluation.incremental_learning import IncrementalLearning
from temper.system import backend

TASKS = ((0,), (1, 2), (3,))
MODEL, DATA = Ref[Incremental]("cl_class"), Ref[Examples]("digits", "test")


def says(*labels: int) -> Any:
    """Return a model that gives images 0, 1, ... these labels."""
    keras = backend.keras()
    model = keras.Sequential([keras.Input((1, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    kernel = np.zeros((8, 4), np.float32)
    kernel[np.arange(len(labels)), labels] = 1
    model.set_weights([kernel, np.zeros(4)])
    return model


Y = [0, 0, 0, 0, 1, 2, 3, 3]
AFTER = (says(0, 0, 0, 0, 0, 0, 0, 0), says(0, 1, 2, 0, 1, 2, 0, 0), says(0, 3, 0, 0, 3, 2, 3, 3))
EARLIER = np.stack([flat_weights(model) for model in AFTER[:2]])


def measured(made: Incremental, y: list[int] = Y, names: tuple[str, ...] = ()) -> list[Row]:
    x = np.eye(8, dtype=np.float32)[: len(y)].reshape(len(y), 1, 8, 1)
    examples = Examples(x=x, y=np.array(y, np.int64), index=np.arange(len(y)))
    known: dict[str, Any] = {str(MODEL): made, str(DATA): examples}
    run = Run(
        "it",
        0,
        None,
        lambda ref: known[str(ref)],
        lambda _: {},
        lambda *_: None,
        origin=lambda _: DataOrigin(classes=names),
    )
    (cell,) = IncrementalLearning(models=(MODEL,), data=DATA).expand()
    return list(cell.measure(run))


def test_tasks_are_called_by_the_names_of_their_classes() -> None:
    rows = measured(Incremental(AFTER[2], TASKS, (1, 2, 3), False, EARLIER), names=("a", "class b", "c", "d"))
    tasks = dict.fromkeys(row.examples for row in rows if row.metric == "task_accuracy")
    assert list(tasks) == ["classes a", "classes class b, c", "classes d"]


def test_the_matrix_and_its_summary() -> None:
    rows = measured(Incremental(AFTER[2], TASKS, (1, 2, 3), False, EARLIER))
    matrix = {(row.group, row.examples): (row.value, row.n) for row in rows if row.metric == "task_accuracy"}
    assert matrix == {
        ("after step 1", "classes 0"): (1.0, 4),
        ("after step 2", "classes 0"): (0.5, 4),
        ("after step 2", "classes 1, 2"): (1.0, 2),
        ("after step 3", "classes 0"): (0.75, 4),
        ("after step 3", "classes 1, 2"): (0.5, 2),
        ("after step 3", "classes 3"): (1.0, 2),
    }
    summary = {row.metric: (row.value, row.n) for row in rows if not row.group}
    assert summary == {
        "final_average": (pytest.approx((0.75 + 0.5 + 1.0) / 3), 8),
        "forgetting": (pytest.approx(100 * (0.25 + 0.5) / 2), 6),
        "backward_transfer": (pytest.approx(100 * (-0.25 - 0.5) / 2), 6),
    }


def test_what_later_steps_improve_is_transfer_and_no_forgetting() -> None:
    worse = flat_weights(says(1, 0, 0, 0))
    rows = {row.metric: row for row in measured(Incremental(says(0, 0, 0, 0, 1, 2, 3, 3), TASKS, (1, 2, 3), False,
                                                            np.stack([worse, worse])))}  # fmt: skip
    assert rows["forgetting"].value == 0
    # After the first step only class 0 may be answered, so it was right; the second task had neither of its images right.
    assert rows["backward_transfer"].value == pytest.approx(100 * (0 + 1) / 2)


def test_a_joint_model_has_a_final_average_alone() -> None:
    rows = measured(Incremental(AFTER[2], TASKS, (3,), False, np.empty((0, EARLIER.shape[1]), np.float32)))
    assert {row.metric for row in rows} == {"final_average", "task_accuracy"}
    assert len(rows) == 4


def test_a_task_without_images_has_no_part() -> None:
    rows = {row.metric: row.value for row in measured(Incremental(AFTER[2], TASKS, (1, 2, 3), False, EARLIER), Y[:4])}
    assert rows["final_average"] == 0.75
    assert rows["forgetting"] == 25
    with pytest.raises(StageError, match=r"digits.test has no image of any task"):
        measured(Incremental(AFTER[2], TASKS, (1, 2, 3), False, EARLIER), [])
