"""What a repair fixed and broke, counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.artefacts.incremental_classifier import Incremental
from temper.core.artefacts import Examples, Row
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.confidence_intervals import wilson
from temper.core.run import Run
from temper.evaluation.repair_effect import RepairEffect
from temper.system import backend

BEFORE, AFTER, OTHER = Ref[Classifier]("before"), Ref[Classifier]("after"), Ref[Classifier]("other")
HELD, CLEAN = Ref[Examples]("held", "test"), Ref[Examples]("clean", "test")


def says(*labels: int) -> Any:
    """Return a model that gives images 0, 1, ... these labels; image i is bright at pixel i."""
    keras = backend.keras()
    model = keras.Sequential([keras.Input((1, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    kernel = np.zeros((8, 4), np.float32)
    kernel[np.arange(len(labels)), labels] = 1
    # Among classes 0 and 1 alone an image is of 1, unless it says 0.
    model.set_weights([kernel, np.array([0.0, 0.1, 0.0, 0.0], np.float32)])
    return model


def images(y: list[int]) -> Examples:
    x = np.eye(8, dtype=np.float32)[: len(y)].reshape(len(y), 1, 8, 1)
    return Examples(x=x, y=np.array(y, np.int64), index=np.arange(len(y)))


SETS = {str(HELD): images([0, 0, 0, 0, 1, 1]), str(CLEAN): images([2, 2])}
MODELS = {
    # On the hold-out: right, right, wrong, wrong, wrong, right; and on the clean set right, wrong.
    "before": Classifier(says(0, 0, 1, 2, 3, 1)),
    # Right, wrong, right, right, wrong, right.
    "after": Classifier(says(0, 3, 0, 0, 2, 1)),
}


def measured(**fields: Any) -> dict[str, Row]:
    effect = RepairEffect(**{"model": BEFORE, "repaired": (AFTER,), "examples": (HELD,), "data": CLEAN} | fields)
    known: dict[str, Any] = {**SETS, **MODELS}
    run = Run("it", 0, None, lambda ref: known[str(ref)], lambda _: {}, lambda *_: None)
    (cell,) = effect.expand()
    return {row.metric: row for row in cell.measure(run)}


def test_fixed_and_broken_images_are_counted() -> None:
    found = measured()
    shares = {metric: (row.value, row.n) for metric, row in found.items()}
    assert shares == {
        "accuracy_before": (3 / 6, 6),
        "accuracy_after": (4 / 6, 6),
        "change": (pytest.approx(100 / 6), 6),
        "repair_rate": (2 / 3, 3),
        "regression_rate": (1 / 3, 3),
        "p_mcnemar": (1.0, 6),
        "union_before": (3 / 8, 8),
        "union_after": (4 / 8, 8),
    }
    assert (found["repair_rate"].lower, found["repair_rate"].upper) == wilson(2, 3)
    assert found["p_mcnemar"].note == "2 fixed, 1 broken"  # of 3 tosses, 2 or more on either side
    assert {row.model for row in found.values()} == {"after"}
    assert {row.examples for row in found.values()} == {"held"}


def test_the_clean_set_is_not_united_with_itself_and_no_failure_has_no_rate() -> None:
    found = measured(examples=(CLEAN,), repaired=(BEFORE,))
    assert set(found) == {"accuracy_before", "accuracy_after", "change", "repair_rate", "p_mcnemar"}
    assert found["repair_rate"].n == 2, "no image was right, so none can be broken"


def test_an_empty_set_has_no_number_and_adds_nothing_to_the_union() -> None:
    SETS["none.test"] = images([])
    found = measured(examples=(Ref[Examples]("none", "test"),))
    assert {metric for metric, row in found.items() if np.isnan(row.value)} == {
        "accuracy_before", "accuracy_after", "change", "p_mcnemar",
    }  # fmt: skip
    assert {metric: (row.value, row.n) for metric, row in found.items() if row.n} == {
        "union_before": (0, 2),
        "union_after": (0, 2),
    }


def test_where_the_task_is_given_it_is_given_to_both() -> None:
    tasks = ((0, 1), (2, 3))
    MODELS["other"] = Incremental(says(0, 3, 0, 0, 2, 1), tasks, (2,), True, np.empty((0, 0), np.float32))
    found = measured(repaired=(OTHER,))
    # Before, of 0 and 1 alone: 0, 0, 1, 1, 1, 1. After: 0, 1, 0, 0, 1, 1.
    assert found["accuracy_before"].value == 4 / 6
    assert found["accuracy_after"].value == 5 / 6
    assert found["accuracy_after"].note == "the task of each image is given"


def test_every_pair_is_a_cell_or_each_with_its_own() -> None:
    fields: dict[str, Any] = {"model": BEFORE, "repaired": (AFTER, OTHER), "examples": (HELD, CLEAN)}
    every = [cell.about() for cell in RepairEffect(**fields).expand()]
    assert every == [{"model": m, "examples": e} for m in ("after", "other") for e in ("held", "clean")]
    own = list(RepairEffect(**fields, pairing="position").expand())
    assert [cell.about() for cell in own] == [{"examples": "held"}, {"examples": "clean"}]
    assert [cell.repaired for cell in own] == [(AFTER,), (OTHER,)]
    (fault,) = RepairEffect(**fields | {"examples": (HELD,)}, pairing="position").check()
    assert fault == ("pairing", "position needs as many repaired models as sets, received 2 and 1")
    assert measured(pairing="position")["change"].note == "before -> after"
