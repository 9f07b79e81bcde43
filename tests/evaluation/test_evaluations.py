"""Evaluations against tables worked by hand, on a classifier that reads the label off the first pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Examples, Row
from temper.core.component import Ref
from temper.core.families import Evaluation
from temper.core.run import Run
from temper.evaluation.cost import Cost
from temper.evaluation.perturbation import Perturbation
from temper.evaluation.robustness import AttackSuccess, RobustnessMatrix


class Threshold:
    """Predicts 1 where the first pixel is above one half."""

    num_classes = 2

    def predict(self, x: np.ndarray) -> np.ndarray:
        return (x[:, 0, 0, 0] > 0.5).astype(np.int64)

    def loss_gradient(self, x: np.ndarray, y: np.ndarray, loss: str) -> np.ndarray:
        """Half of the margin's entries are zero, all of the cross-entropy's."""
        gradient = np.zeros_like(x)
        gradient[:, 0] = loss == "margin"
        return gradient


def images(first: list[float], y: list[int], index: list[int] | None = None, **info: Any) -> Examples:
    x = np.zeros((len(first), 2, 1, 1), np.float32)
    x[:, 0, 0, 0] = first
    return Examples(x=x, y=np.array(y, np.int64), index=np.array(index or range(len(y)), np.int64), info=info)


#                predicted   0    0    1    1
CLEAN = images([0.1, 0.4, 0.6, 0.9], [0, 1, 1, 1], [7, 3, 9, 5])
#                 right    yes  no   yes  yes
ADVERSARIAL = images([0.6, 0.4, 0.4, 0.8], [0, 1, 1, 1], [7, 3, 9, 5], norm="inf", eps=0.45, labels="true")
#                 right    no   no   no   yes
OTHER = images([0.9, 0.1, 0.1], [1, 0, 1], [5, 7, 9])
#                 right    yes  yes  no


def measured(evaluation: Evaluation, artefacts: Mapping[str, Any]) -> dict[tuple[str, str], Row]:
    run = Run("e", 0, None, lambda ref: artefacts[str(ref)], lambda ref: artefacts[str(ref)], lambda *_: None)
    return {(row.metric, row.group): row for row in evaluation.produce(run).rows}


def ref(stage: str) -> Ref[Any]:
    return Ref(stage, "test")


def test_accuracy_and_its_interval() -> None:
    cell = RobustnessMatrix(
        models=(Ref("m"),), examples=(ref("clean"),), protocol="transfer", per_class=True, worst_case=False
    )
    rows = measured(cell, {"m": Threshold(), "clean.test": CLEAN})
    accuracy = rows["accuracy", ""]
    assert (accuracy.value, accuracy.n) == (0.75, 4)
    assert accuracy.lower == pytest.approx(0.3006, abs=1e-4)  # Wilson, 3 of 4
    assert accuracy.upper == pytest.approx(0.9544, abs=1e-4)
    assert [rows["class_accuracy", f"class {c}"].value for c in (0, 1)] == [1.0, pytest.approx(2 / 3)]


def test_the_worst_case_joins_the_sets_by_image() -> None:
    matrix = RobustnessMatrix(
        models=(Ref("m"),), examples=(ref("clean"), ref("adv"), ref("other")), protocol="transfer"
    )
    *single, worst = matrix.expand()
    assert [cell.about()["examples"] for cell in single] == ["clean", "adv", "other"]
    assert worst.about()["examples"] == "worst_case"
    found = measured(worst, {"m": Threshold(), "clean.test": CLEAN, "adv.test": ADVERSARIAL, "other.test": OTHER})
    # Image 7 fails under adv, 3 in all, 9 under adv and other; 5 alone survives.
    assert found["accuracy", ""].value == 0.25


def test_white_box_turns_every_set_against_the_model() -> None:
    matrix = RobustnessMatrix(models=(Ref("m"), Ref("r")), examples=(ref("adv"),), protocol="white_box")
    assert [cell.examples[0].against for cell in matrix.expand()] == ["m", "r"]


def test_attack_success_counts_only_images_that_were_right() -> None:
    (cell,) = AttackSuccess(models=(Ref("m"),), examples=(ref("adv"),), protocol="transfer").expand()
    rows = measured(cell, {"m": Threshold(), "adv.test": ADVERSARIAL, "adv.test!clean": CLEAN})
    rate = rows["attack_success_rate", ""]
    assert (rate.value, rate.n) == (pytest.approx(2 / 3), 3)
    assert rows["robust_accuracy", ""].value == 0.25
    assert rows["clean_accuracy", ""].value == 0.75
    assert rows["linf_reached", ""].value == pytest.approx(0.5)
    assert rate.note == "true labels; norm inf, eps 0.45"


@pytest.mark.parametrize(
    ("info", "share"), [({"ascended_loss": "margin"}, 0.5), ({"climbs": "cross_entropy"}, 1.0), ({}, 1.0)]
)
def test_zero_gradients_are_those_of_the_loss_that_is_climbed(info: dict[str, str], share: float) -> None:
    (cell,) = AttackSuccess(models=(Ref("m"),), examples=(ref("adv"),), protocol="transfer").expand()
    climbed = images([0.1, 0.9], [0, 1], **info)
    rows = measured(cell, {"m": Threshold(), "adv.test": climbed, "adv.test!clean": images([0.1, 0.9], [0, 1])})
    assert rows["zero_gradients", ""].value == share


def test_perturbation_norms() -> None:
    (cell,) = Perturbation(examples=(ref("adv"),)).expand()
    rows = {
        metric: row.value
        for (metric, _), row in measured(cell, {"adv.test": ADVERSARIAL, "adv.test!clean": CLEAN}).items()
    }
    differences = [0.5, 0.0, 0.2, 0.1]
    assert rows["l0"] == pytest.approx(0.75)
    for norm in ("l1", "l2", "linf"):
        assert rows[norm] == pytest.approx(sum(differences) / 4)
    assert rows["linf_max"] == pytest.approx(0.5)
    assert rows["changed"] == 0.75
    assert rows["inside"] == 0.75


def test_cost_is_read_from_the_artefact() -> None:
    (cell,) = Cost(stages=(Ref("m"),)).expand()
    cost = {"seconds": 4.0, "cpu_seconds": 6.0, "peak_memory": 3 * 2**20, "images": 100}
    rows = {metric: row.value for (metric, _), row in measured(cell, {"m": cost}).items()}
    assert rows == {"seconds": 4.0, "cpu_seconds": 6.0, "peak_memory": 3.0, "images_per_second": 25.0}


def test_no_image_gives_no_number() -> None:
    cell = RobustnessMatrix(models=(Ref("m"),), examples=(ref("none"),), protocol="transfer", worst_case=False)
    none = Examples(x=np.zeros((0, 2, 1, 1), np.float32), y=np.zeros(0, np.int64), index=np.zeros(0, np.int64))
    assert math.isnan(measured(cell, {"m": Threshold(), "none.test": none})["accuracy", ""].value)
