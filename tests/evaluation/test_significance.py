"""The comparison of levels, against a small table worked by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from scipy import stats

from temper.core.artefacts import Row
from temper.core.component import Ref
from temper.core.errors import StageError, UndertrainedModelError
from temper.core.run import MeasuredValue, Run
from temper.evaluation.significance import Significance

ACCURACY = {"mlp": [0.1, 0.2, 0.3], "fgsm": [0.4, 0.5, 0.6], "pgd": [0.25, 0.55, 0.65]}


def measured(model: str, value: float, examples: str = "test", group: str = "", **point: Any) -> MeasuredValue:
    row = Row(metric="accuracy", value=value, n=100, unit="proportion", higher_is_better=True, model=model,
              examples=examples, group=group)  # fmt: skip
    return MeasuredValue(row, point)


TABLE = [measured(model, value, seed=seed) for model, values in ACCURACY.items() for seed, value in enumerate(values)]


def compared(rows: Sequence[MeasuredValue], **parameters: Any) -> dict[tuple[str, str], Row]:
    component = Significance(**{"of": Ref("transfer"), "compare": "model", "metric": "accuracy", **parameters})
    run = Run("better", 0, None, lambda ref: None, lambda ref: {}, lambda *_: None, lambda ref: rows)
    return {(row.group, row.metric): row for row in component.produce(run).rows}


def test_all_pairs_in_the_order_of_the_file() -> None:
    rows = compared(TABLE)
    assert list(dict.fromkeys(pair for pair, _ in rows)) == ["mlp vs fgsm", "mlp vs pgd", "fgsm vs pgd"]
    assert {row.examples for row in rows.values()} == {"test"}
    assert {row.model for row in rows.values()} == {""}


def test_each_against_a_baseline() -> None:
    rows = compared(TABLE, baseline="mlp")
    assert list(dict.fromkeys(pair for pair, _ in rows)) == ["fgsm vs mlp", "pgd vs mlp"]
    a12 = rows["pgd vs mlp", "a12"]
    assert a12.value == pytest.approx(8 / 9)  # 0.25 is below 0.3 alone
    difference = rows["fgsm vs mlp", "difference"]
    assert (difference.value, difference.unit) == (pytest.approx(30.0), "percentage points")
    # The seeds differ by the same each: an interval without width.
    assert (difference.lower, difference.upper) == (pytest.approx(30.0), pytest.approx(30.0))
    first, second = rows["fgsm vs mlp", "mean_first"], rows["fgsm vs mlp", "mean_second"]
    assert (first.value, first.n, second.value, second.n) == (pytest.approx(0.5), 3, pytest.approx(0.2), 3)
    # 0.5 +- t(0.975; 2) * 0.1 / sqrt(3); 0.2 less as much is below 0, where no proportion is.
    assert (first.lower, first.upper) == pytest.approx((0.5 - 0.248414, 0.5 + 0.248414), abs=1e-6)
    assert (second.lower, second.upper) == pytest.approx((0.0, 0.2 + 0.248414), abs=1e-6)
    assert (first.note, difference.note) == (
        "Student's t interval", "Student's t (paired) interval; no spread between repetitions"
    )  # fmt: skip


def test_tests_and_their_correction() -> None:
    rows = compared(TABLE, baseline="mlp")
    p = {pair: rows[pair, "p_mann_whitney"].value for pair in ("fgsm vs mlp", "pgd vs mlp")}
    assert p == {"fgsm vs mlp": pytest.approx(0.1), "pgd vs mlp": pytest.approx(0.2)}
    corrected = {pair: rows[pair, "p_mann_whitney_holm"].value for pair in p}
    assert corrected == {"fgsm vs mlp": pytest.approx(0.2), "pgd vs mlp": pytest.approx(0.2)}
    assert rows["fgsm vs mlp", "p_wilcoxon"].value == pytest.approx(0.25)
    assert rows["fgsm vs mlp", "p_wilcoxon"].n == 3


def test_too_few_repetitions_are_said_to_be_too_few() -> None:
    rows = compared(TABLE, baseline="mlp")
    assert rows["fgsm vs mlp", "a12"].note == (
        "large; 3 against 3; Holm over 2 pairs; "
        "too few repetitions for any difference to be significant (smallest possible p 0.1)"
    )
    assert "(smallest possible p 0.25)" in rows["fgsm vs mlp", "p_wilcoxon"].note
    four = [*TABLE, *(measured(model, 0.1 * i, seed=3) for i, model in enumerate(ACCURACY))]
    assert "after correction (smallest possible p 0.086)" in compared(four)["mlp vs fgsm", "a12"].note  # 3 x 2/70
    ten = [measured(model, i / 20 + j / 100, seed=j) for i, model in enumerate(ACCURACY) for j in range(10)]
    assert compared(ten)["mlp vs fgsm", "a12"].note == "large; 10 against 10; Holm over 3 pairs"


def test_unpaired_samples_have_no_signed_ranks() -> None:
    rows = compared([m for m in TABLE if not (m.row.model == "pgd" and m.point["seed"] == 1)], baseline="mlp")
    assert ("fgsm vs mlp", "p_wilcoxon") in rows
    assert ("pgd vs mlp", "p_wilcoxon") not in rows
    assert rows["pgd vs mlp", "a12"].note.startswith("large; 2 against 3; ")
    # What does not depend on the seed has one number.
    rows = compared([*TABLE, measured("saved", 0.3)], baseline="saved")
    assert ("mlp vs saved", "p_wilcoxon") not in rows
    assert rows["mlp vs saved", "mean_second"].lower is None
    assert rows["mlp vs saved", "difference"].lower is None
    assert rows["mlp vs saved", "difference"].note == "no interval: the spread of a single number is unknown"


def test_two_seeds_have_an_interval_and_one_has_none() -> None:
    two = compared([m for m in TABLE if m.point["seed"] < 2], baseline="mlp")
    half = math.tan(0.475 * math.pi)  # t(0.975; 1)
    mean = two["fgsm vs mlp", "mean_first"]
    assert (mean.lower, mean.upper) == pytest.approx((max(0, 0.45 - 0.05 * half), min(1, 0.45 + 0.05 * half)))
    # 0.25 - 0.1 and 0.55 - 0.2: 0.25 on average, with an error of 0.1.
    difference = two["pgd vs mlp", "difference"]
    assert (difference.lower, difference.upper) == pytest.approx((-100.0, 100.0)), "25 +- 127 points"
    assert two["pgd vs mlp", "difference"].note == "Student's t (paired) interval"
    one = compared([m for m in TABLE if m.point["seed"] < 1], baseline="mlp")
    assert {one["pgd vs mlp", metric].lower for metric in ("mean_first", "mean_second", "difference")} == {None}
    assert one["pgd vs mlp", "difference"].value == pytest.approx(15.0)


def test_unpaired_samples_have_welchs_interval() -> None:
    rows = compared([m for m in TABLE if not (m.row.model != "mlp" and m.point["seed"] == 1)], baseline="mlp")
    difference = rows["fgsm vs mlp", "difference"]
    theirs = stats.ttest_ind([0.4, 0.6], [0.1, 0.2, 0.3], equal_var=False).confidence_interval()
    assert (difference.lower, difference.upper) == pytest.approx((100 * theirs.low, 100 * theirs.high))
    assert difference.note == "Welch's t interval"
    # 0.25 and 0.65 leave it wide open: a difference of proportions ends at 100 points.
    assert (rows["pgd vs mlp", "difference"].lower, rows["pgd vs mlp", "difference"].upper) == (-100.0, 100.0)


def test_what_arithmetic_adds_makes_no_winner() -> None:
    rows = compared([measured("a", 0.1 + 0.2, seed=0), measured("b", 0.3, seed=0)])
    assert (rows["a vs b", "a12"].value, rows["a vs b", "p_wilcoxon"].value) == (0.5, 1.0)


def test_an_infinite_number_has_no_interval() -> None:
    rows = compared(
        [measured(m.row.model, float("inf") if m.row.value == 0.1 else m.row.value, **m.point) for m in TABLE]
    )
    assert (rows["mlp vs pgd", "mean_first"].lower, rows["mlp vs pgd", "difference"].lower) == (None, None)
    assert rows["mlp vs pgd", "mean_first"].note == "no interval: not all numbers are finite"
    assert rows["mlp vs pgd", "mean_second"].lower is not None


def test_pairs_are_those_of_the_same_repetition_whatever_their_order() -> None:
    shuffled = [*TABLE[:3], *reversed(TABLE[3:6])]
    assert compared(shuffled) == compared(TABLE[:6])


def test_what_is_not_compared_has_comparisons_of_its_own() -> None:
    attacked = [measured(m.row.model, m.row.value / 2, "pgd", **m.point) for m in TABLE]
    component = Significance(of=Ref("transfer"), compare="model", metric="accuracy", baseline="mlp")
    run = Run("b", 0, None, lambda ref: None, lambda ref: {}, lambda *_: None, lambda ref: [*TABLE, *attacked])
    rows = [row for row in component.measure(run) if row.metric == "mean_first" and row.group == "fgsm vs mlp"]
    assert {row.examples: row.value for row in rows} == {"test": pytest.approx(0.5), "pgd": pytest.approx(0.25)}


def test_group_numbers_are_omitted_unless_groups_are_compared() -> None:
    grouped = [
        measured("mlp", v, group=f"class {c}", seed=s) for c in (0, 1) for s, v in enumerate([0.1 * c, 0.2, 0.3])
    ]
    assert compared([*TABLE, *grouped]) == compared(TABLE)
    rows = compared(grouped, compare="group")
    assert {pair for pair, _ in rows} == {"class 0 vs class 1"}
    assert {row.model for row in rows.values()} == {"mlp"}


def test_over_another_column_numbers_are_means_over_the_seeds() -> None:
    rows = [measured(model, base + 0.1 * i + 0.01 * (2 * seed - 1), f"set {i}", seed=seed)
            for model, base in (("a", 0.1), ("b", 0.3)) for i in range(5) for seed in (0, 1)]  # fmt: skip
    found = compared(rows, over="examples")
    assert found["a vs b", "p_wilcoxon"].n == 5
    assert found["a vs b", "mean_first"].value == pytest.approx(0.3)
    assert found["a vs b", "difference"].lower == pytest.approx(-20.0)


def test_an_axis_is_compared_by_its_values() -> None:
    rows = [measured("mlp", v + k / 100, seed=s, k=k) for k in (5, 10) for s, v in enumerate([0.1, 0.2, 0.3, 0.4])]
    found = compared([*rows, measured("mlp", 0.5, seed=0)], compare="k", baseline="5")
    assert {pair for pair, _ in found} == {"10 vs 5"}
    assert {row.model for row in found.values()} == {"mlp"}


def test_undefined_numbers_are_no_numbers() -> None:
    rows = compared([*TABLE, measured("mlp", float("nan"), seed=3)])
    assert rows == compared(TABLE)


def test_two_numbers_of_a_repetition_are_an_error() -> None:
    with pytest.raises(StageError, match="gave 2 numbers, expected one for each model and seed"):
        compared([*TABLE, TABLE[0]])


def test_a_metric_that_was_not_measured_is_an_error_that_smoke_runs_may_have() -> None:
    with pytest.raises(UndertrainedModelError, match="'transfer' measured no 'loss' in this task"):
        compared(TABLE, metric="loss")


def faults(**parameters: Any) -> list[tuple[str, str]]:
    component = Significance(**{"of": Ref("transfer"), "compare": "model", "metric": "accuracy", **parameters})
    columns = {
        "model": ("mlp", "pgd"),
        "examples": ("test",),
        "metric": ("accuracy",),
        "eps": (8 / 255,),
        "seed": (1, 2),
    }
    return [*component.check(), *component.suits(columns)]


@pytest.mark.parametrize(
    ("parameters", "field", "message"),
    [
        ({"metric": "acuracy"}, "metric", "'acuracy' is not a metric of 'transfer'; did you mean 'accuracy'?"),
        (
            {"compare": "modle"},
            "compare",
            "'modle' is not a column that varies in the results of 'transfer'; did you mean 'model'?",
        ),
        ({"baseline": "mpl"}, "baseline", "'mpl' is not a value of model in 'transfer'; did you mean 'mlp'?"),
        ({"over": "k"}, "over", "'k' is not a column that varies in the results of 'transfer'; expected one of model, examples, eps, seed"),
        ({"compare": "eps"}, "compare", "'transfer' has only one eps (8/255); expected at least two to compare"),
        ({"compare": "seed"}, "compare", "'seed' cannot be both the compared column and that of the repetitions"),
    ],
)  # fmt: skip
def test_faults_are_found_before_anything_runs(parameters: dict[str, Any], field: str, message: str) -> None:
    assert faults(**parameters) == [(field, message)]


def test_sound_parameters_have_no_fault() -> None:
    assert faults() == []
    assert faults(baseline="mlp") == []
    assert faults(compare="group", baseline="class 0") == []


def test_groups_of_a_metric_that_is_measured_of_groups_only_are_compared_one_by_one() -> None:
    rows = [
        measured(model, value + shift, seed=seed, group=group)
        for group, shift in (("class cat", 0.0), ("class dog", 0.1))
        for model, values in ACCURACY.items()
        for seed, value in enumerate(values)
    ]
    found = compared(rows, baseline="mlp")
    assert list(dict.fromkeys(pair for pair, _ in found)) == [
        f"class {name}: {model} vs mlp" for name in ("cat", "dog") for model in ("fgsm", "pgd")
    ]
    # Corrected for the two pairs of a class, not for all four.
    assert found["class dog: fgsm vs mlp", "p_mann_whitney_holm"].value == pytest.approx(0.2)
    assert found["class dog: fgsm vs mlp", "mean_second"].value == pytest.approx(0.3)
