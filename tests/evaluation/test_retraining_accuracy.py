"""What a retraining curve comes to, and its points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from temper.core.artefacts import Examples, Results, Row
from temper.core.component import Ref
from temper.core.errors import StageError, UndertrainedModelError
from temper.core.run import MeasuredValue, Run
from temper.evaluation.curve_summary import CurveSummary
from temper.evaluation.retraining_accuracy import RetrainingAccuracy

TEST, VALIDATION = Ref[Results]("curve"), Ref[Results]("tuning")


def rows(model: str, values: dict[float | None, float], examples: str = "union", **columns: Any) -> list[MeasuredValue]:
    settings: Any = {"metric": "accuracy", "n": 10, "unit": "proportion", "higher_is_better": True} | columns
    return [
        MeasuredValue(Row(value=value, model=model, examples=examples, **settings), {} if at is None else {"share": at})
        for at, value in values.items()
    ]


def summed(found: list[MeasuredValue], deciding: list[MeasuredValue] | None = None, **fields: Any) -> dict[str, Row]:
    of = {TEST: found, VALIDATION: deciding or []}
    summary = CurveSummary(of=TEST, along="share", select_by=VALIDATION if deciding else None, **fields)
    run = Run("s", 0, None, lambda ref: None, lambda ref: {}, lambda *_: None, lambda ref: of[ref])
    return {row.metric: row for row in summary.measure(run)}


POINTS: dict[float | None, float] = {0.5: 0.8, 0.1: 0.4, 0.2: 0.6, 1.0: 0.8}
"""Not in order, and best twice."""


def test_best_area_mean_and_beginning() -> None:
    found = summed(rows("dsa", POINTS))
    assert found["best"].value == 0.8
    assert found["best_inputs"].value == 0.5
    assert found["best_inputs"].unit == "share"
    assert found["area"].value == pytest.approx((0.1 * 0.5 + 0.3 * 0.7 + 0.5 * 0.8) / 0.9)
    assert found["mean"].value == pytest.approx(0.65)
    assert found["first_quarter"].value == 0.4
    assert all(row.n == 4 for row in found.values())


def test_inputs_are_counted_where_they_are_known() -> None:
    counts = rows(
        "dsa", {0.1: 6, 0.2: 12, 0.5: 30, 1.0: 60}, "", metric="inputs", unit="images", higher_is_better=False
    )
    found = summed(rows("dsa", POINTS) + counts)
    assert (found["best_inputs"].value, found["best_inputs"].unit) == (30, "images")


def test_the_first_quarter_of_twenty_points_is_five() -> None:
    found = summed(rows("dsa", {i / 20: float(i) for i in range(1, 21)}, unit="nats"))
    assert found["first_quarter"].value == 3.0


def test_one_point_is_a_curve() -> None:
    found = summed(rows("dsa", {0.1: 0.4}))
    assert {found[name].value for name in ("best", "area", "mean", "first_quarter")} == {0.4}


def test_selection_reports_the_test_where_validation_is_best() -> None:
    deciding = rows("dsa", {0.1: 0.2, 0.2: 0.9, 0.5: 0.7, 1.0: 0.7})
    found = summed(rows("dsa", POINTS, "digits"), deciding)
    assert found["selected"].value == 0.6
    assert found["selected_inputs"].value == 0.2
    assert found["selected"].examples == "digits"


@pytest.mark.parametrize("deciding", [rows("lsa", POINTS), rows("dsa", {0.1: 0.2}), rows("dsa", POINTS, "digits")])
def test_selection_needs_the_same_points(deciding: list[MeasuredValue]) -> None:
    with pytest.raises(StageError, match="lacks points of 'curve' for dsa on 'union'"):
        summed(rows("dsa", POINTS), deciding)


def test_the_gain_is_taken_from_a_model_off_the_axis() -> None:
    found = summed(rows("dsa", POINTS) + rows("original", {None: 0.5}), baseline="original")
    assert found["first_quarter_gain"].value == pytest.approx(-10)
    assert found["first_quarter_gain"].unit == "percentage points"
    with pytest.raises(StageError, match="expected one accuracy of 'lsa' on union, received 0"):
        summed(rows("dsa", POINTS), baseline="lsa")


def test_a_metric_that_was_not_measured_is_an_error_that_smoke_runs_may_have() -> None:
    with pytest.raises(UndertrainedModelError, match="'curve' measured no 'loss' along 'share'"):
        summed(rows("dsa", POINTS), metric="loss")


@pytest.mark.parametrize(
    ("columns", "field", "message"),
    [
        ({"metric": ("acuracy",), "share": (0.1, 1)}, "metric", "did you mean 'acuracy'"),
        ({"metric": ("accuracy",), "eps": (0.1, 1)}, "along", "do not vary over 'share'; there is eps"),
        ({"metric": ("accuracy",), "share": ("a", "b")}, "along", "not a numeric axis"),
    ],
)
def test_what_cannot_be_a_curve_is_refused(columns: Any, field: str, message: str) -> None:
    (found,) = CurveSummary(of=TEST, along="share").suits(columns)
    assert found[0] == field
    assert message in found[1]


def test_what_can_be_a_curve_is_not() -> None:
    assert not list(CurveSummary(of=TEST, along="share").suits({"metric": ("accuracy",), "share": (0.1, 1)}))


class Always:
    """A classifier that says 0."""

    def predict(self, x: Any) -> Any:
        return np.zeros(len(x), np.int64)


def test_in_the_union_every_image_counts_once() -> None:
    def labelled(right: int, n: int) -> Examples:
        return Examples(x=np.zeros((n, 1, 1, 1), np.float32), y=(np.arange(n) >= right).astype(np.int64),
                        index=np.arange(n))  # fmt: skip

    refs = Ref[Examples]("clean", "test"), Ref[Examples]("fgsm", "test")
    known: dict[Any, Any] = {Ref("mlp"): Always(), refs[0]: labelled(9, 10), refs[1]: labelled(2, 30)}

    def union_of(*examples: Any) -> dict[str, Row]:
        (cell,) = RetrainingAccuracy(models=(Ref("mlp"),), examples=examples).expand()
        run = Run("c", 0, None, known.__getitem__, lambda _: {}, lambda *_: None)
        return {row.examples: row for row in cell.measure(run)}

    assert union_of(*refs, refs[1])["union"].value == 13 / 70
    assert set(union_of(refs[0])) == {"clean"}
    found = union_of(*refs)
    assert {name: (row.value, row.n) for name, row in found.items()} == {
        "clean": (0.9, 10),
        "fgsm": (2 / 30, 30),
        "union": (11 / 40, 40),
    }


PUBLISHED_MEANS = {
    ("gtsrb", "c1"): (0.7915, 0.8839, 0.8733, 0.8819, 0.9139, 0.6456),
    ("mnist", "c2"): (0.9646, 0.9854, 0.9882, 0.9876, 0.9842, 0.9700),
    ("cifar", "c3"): (0.5433, 0.5668, 0.5896, 0.5904, 0.6079, 0.6011),
}
PUBLISHED_BEST = {
    ("gtsrb", "c1"): ((0.9706, 35000), (0.9675, 35287), (0.9714, 35000), (0.9750, 15750), (0.9731, 35287), (0.9683, 35287)),
    ("mnist", "c2"): ((0.9874, 55998), (0.9882, 22400), (0.9923, 14000), (0.9912, 14000), (0.9866, 55998), (0.9861, 55998)),
    ("cifar", "c3"): ((0.6338, 6000), (0.6433, 5700), (0.6406, 6000), (0.6359, 5100), (0.6532, 5400), (0.6389, 5400)),
}  # fmt: skip
ORDERS = ("lsa", "dsa", "dg", "se", "random", "nc")


@pytest.mark.shared
@pytest.mark.parametrize("cell", PUBLISHED_MEANS)
def test_the_published_curves_come_to_the_published_numbers(cell: tuple[str, str], shared: Path) -> None:
    curves = pd.read_csv(shared / "specs" / "guided_retraining_curves.csv")
    curves = curves[(curves.dataset == cell[0]) & (curves.config == cell[1])]
    for order, mean, (best, inputs) in zip(ORDERS, PUBLISHED_MEANS[cell], PUBLISHED_BEST[cell], strict=True):
        curve = curves[curves.metric == order]
        points = {n: a for n, a in zip(curve.n_inputs, curve.accuracy, strict=True) if n > 0}
        found = summed(rows(order, points))
        assert found["mean"].value == pytest.approx(mean, abs=6e-5)
        assert found["best"].value == pytest.approx(best, abs=6e-5)
        assert found["best_inputs"].value == inputs


@pytest.mark.shared
def test_the_published_curves_begin_as_published(shared: Path) -> None:
    """DSA, DeepGini and entropy above chance, and chance above neuron coverage, on the first quarter of GTSRB."""
    curves = pd.read_csv(shared / "specs" / "guided_retraining_curves.csv")
    begin = {}
    for order in ORDERS:
        curve = curves[(curves.dataset == "gtsrb") & (curves.config == "c2") & (curves.metric == order)]
        points = {n: a for n, a in zip(curve.n_inputs, curve.accuracy, strict=True) if n > 0}
        begin[order] = round(summed(rows(order, points))["first_quarter"].value, 3)
    assert begin == {"lsa": 0.933, "dsa": 0.952, "dg": 0.952, "se": 0.952, "random": 0.913, "nc": 0.577}
