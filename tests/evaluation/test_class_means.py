"""Loss and accuracy by class, worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.component import Ref
from temper.evaluation.class_means import ClassMeans, cross_entropy
from tests.evaluation.test_evaluations import images, measured, ref

LOGITS = np.log(np.array([[0.8, 0.2], [0.4, 0.6], [0.5, 0.5], [0.1, 0.9]], np.float32))


class Fixed:
    """Gives the same logits whatever the images are."""

    num_classes = 2

    def logits(self, x: Any) -> Any:
        return LOGITS


def test_every_class_has_the_same_weight() -> None:
    cell = ClassMeans(models=(Ref("m"),), examples=(ref("e"),))
    rows = measured(cell, {"m": Fixed(), "e.test": images([0.1, 0.2, 0.3, 0.4], [0, 0, 0, 1])})
    # Class 0 is right on two of three (the tie goes to the first class), class 1 on its one.
    assert rows["accuracy", ""].value == pytest.approx((2 / 3 + 1) / 2)
    assert rows["class_accuracy", "class 0"].value == pytest.approx(2 / 3)
    losses = -np.log([0.8, 0.4, 0.5]).mean(), -np.log(0.9)
    assert rows["class_loss", "class 0"].value == pytest.approx(losses[0], rel=1e-6)
    assert rows["loss", ""].value == pytest.approx(np.mean(losses), rel=1e-6)
    assert (rows["loss", ""].n, rows["class_loss", "class 1"].n) == (4, 1)


@pytest.mark.filterwarnings("error:Mean of empty slice")
def test_an_empty_set_has_no_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fixed, "logits", lambda self, x: LOGITS[: len(x)])
    cell = ClassMeans(models=(Ref("m"),), examples=(ref("e"),))
    rows = measured(cell, {"m": Fixed(), "e.test": images([], [])})
    assert rows.keys() == {("accuracy", ""), ("loss", "")}
    assert all(np.isnan(row.value) and row.n == 0 for row in rows.values())


def test_a_loss_may_be_bounded_by_clipping() -> None:
    logits = np.array([[0.0, 100.0], [0.0, 100.0], [3.0, 3.0]], np.float32)
    y = np.array([0, 1, 0])
    np.testing.assert_allclose(cross_entropy(logits, y, 0.0), [100, 0, np.log(2)], atol=1e-9)
    np.testing.assert_allclose(cross_entropy(logits, y, 1e-7), [-np.log(1e-7), 1e-7, np.log(2)], rtol=1e-6)


def test_cells_are_turned_against_each_model() -> None:
    whole = ClassMeans(models=(Ref("a"), Ref("b")), examples=(ref("e"),))
    assert [cell.examples[0].against for cell in whole.expand()] == ["a", "b"]
    assert [cell.about()["model"] for cell in whole.expand()] == ["a", "b"]
    assert [c.examples[0].against for c in ClassMeans(**(vars(whole) | {"protocol": "transfer"})).expand()] == [
        None,
        None,
    ]
