"""Corruption errors by hand, and what is refused."""

from __future__ import annotations

from math import isnan
from typing import Any

import pytest

from temper.core.artefacts import Row
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.core.run import MeasuredValue, Run
from temper.evaluation.corruption_error import CorruptionError

# Errors by model, corruption and severity.
ERRORS = {
    "reference": {"fog": (0.2, 0.6), "snow": (0.5, 0.5)},
    "better": {"fog": (0.1, 0.3), "snow": (0.2, 0.3)},
}
CLEAN = {"reference": 0.1, "better": 0.05}


def measured(model: str, error: float, examples: str, **point: Any) -> MeasuredValue:
    row = Row.proportion(
        "accuracy", round(1000 * (1 - error)), 1000, higher_is_better=True, model=model, examples=examples
    )
    return MeasuredValue(row, point)


def values(errors: Any = ERRORS) -> list[MeasuredValue]:
    return [
        *(measured(model, error, "digits") for model, error in CLEAN.items()),
        *(
            measured(model, error, "corrupted", corruption=c, severity=s)
            for model, of in errors.items()
            for c, levels in of.items()
            for s, error in enumerate(levels, 1)
        ),
    ]


def rows(found: list[MeasuredValue], **fields: Any) -> list[Row]:
    run = Run("it", 1, None, lambda _: None, lambda _: {}, lambda *_: None, gather=lambda _: found)
    return list(CorruptionError(of=Ref("accuracy"), **fields).measure(run))


def numbers(found: list[Row]) -> dict[tuple[str, str, str], Any]:
    return {(row.model, row.metric, row.group): pytest.approx(row.value) for row in found}


def test_the_formulas_of_the_paper() -> None:
    found = numbers(rows(values(), clean="digits", reference="reference"))
    assert found["better", "ce", "fog"] == 0.4 / 0.8
    assert found["better", "ce", "snow"] == 0.5 / 1.0
    assert found["better", "mce", ""] == 0.5
    assert found["better", "relative_ce", "fog"] == (0.4 - 0.1) / (0.8 - 0.2)
    assert found["better", "relative_ce", "snow"] == (0.5 - 0.1) / (1.0 - 0.2)
    assert found["better", "relative_mce", ""] == 0.5
    assert found["better", "mean_error", ""] == (0.2 + 0.25) / 2
    assert found["better", "error", "snow"] == 0.25
    assert found["better", "clean_error", ""] == 0.05
    assert found["reference", "mce", ""] == found["reference", "relative_mce", ""] == 1


def test_a_mean_is_over_corruptions_not_over_images() -> None:
    errors = {"reference": {"fog": (0.1, 0.1), "snow": (0.8, 0.8)}, "better": {"fog": (0.2, 0.2), "snow": (0.4, 0.4)}}
    found = numbers(rows(values(errors), reference="reference"))
    assert found["better", "mce", ""] == (2 + 0.5) / 2


def test_without_a_reference_or_clean_images_only_errors_are_reported() -> None:
    assert {row.metric for row in rows(values())} == {"mean_error", "error"}
    assert {row.metric for row in rows(values(), clean="digits")} == {"mean_error", "error", "clean_error"}
    assert {row.metric for row in rows(values(), reference="better")} == {"mean_error", "error", "mce", "ce"}


def test_a_reference_without_errors_gives_no_ratio() -> None:
    errors = {"reference": {"fog": (0.0, 0.0), "snow": (0.5, 0.5)}, "better": ERRORS["better"]}
    found = {(row.model, row.metric, row.group): row for row in rows(values(errors), reference="reference")}
    assert isnan(found["better", "mce", ""].value)
    assert isnan(found["better", "ce", "fog"].value)
    assert found["better", "ce", "snow"].value == pytest.approx(0.5)
    assert found["better", "mce", ""].note == "the reference's term is 0: fog"


def test_each_set_of_examples_but_the_worst_case_may_be_a_corruption() -> None:
    found = [measured("m", error, name) for name, error in (("digits", 0.1), ("fog", 0.2), ("snow", 0.4))]
    found += [measured("m", 0.9, name) for name in ("worst_case", "worst_case (unbounded)")]
    assert numbers(rows(found, corruption="examples", severity=None, clean="digits"))["m", "mean_error", ""] == 0.3


@pytest.mark.parametrize(
    ("found", "fields", "message"),
    [
        ([*values(), *values()[2:3]], {}, "measured reference twice on fog 1"),
        (values()[:-1], {"reference": "reference"}, "other corruptions or severities for better"),
        (values()[:2], {"clean": "digits"}, "on no corrupted images"),
        (values()[1:], {"clean": "digits"}, "expected one accuracy of reference on 'digits', received 0"),
        (values(), {"severity": None}, "measured reference twice on fog; name the axes"),
    ],
)
def test_numbers_that_do_not_belong_together_are_refused(found: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(StageError, match=message):
        rows(found, **fields)


def test_columns_that_are_not_there_are_refused_by_the_plan() -> None:
    columns = {
        "metric": ["accuracy"],
        "model": ["mlp"],
        "examples": ["digits", "c"],
        "corruption": ["fog"],
        "severity": [1],
    }

    def problems(of: Any = columns, **fields: Any) -> list[tuple[str, str]]:
        return list(CorruptionError(of=Ref("accuracy"), **fields).suits(of))

    assert problems() == problems(clean="digits", reference="mlp") == problems(corruption="examples") == []
    assert problems(severity=None) == []
    for fields, field in (
        ({"corruption": "corruptoin"}, "corruption"),
        ({"severity": "level"}, "severity"),
        ({"severity": "examples"}, "severity"),
        ({"clean": "digit"}, "clean"),
        ({"reference": "mpl"}, "reference"),
    ):
        ((found, message),) = problems(**fields)
        assert found == field
        assert "'" in message
    ((found, _),) = problems(columns | {"metric": ["loss"]})
    assert found == "metric"
    ((found, _),) = problems({name: columns[name] for name in columns if name != "model"}, reference="mlp")
    assert found == "reference"
    ((found, _),) = CorruptionError(of=Ref("a"), corruption="severity").check()
    assert found == "severity"
