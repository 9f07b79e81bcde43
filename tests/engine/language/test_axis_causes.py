"""A problem at many points of the axes is reported once, with the values that cause it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from temper.engine.language.axis_causes import LISTED, AxisCauses
from temper.engine.language.axis_points import points

AT = list(points({"eps": (0.1, 0.2, 0.3), "its": (1, 2)}))


def merged(says: Callable[[Any], str], at: list[Any] = AT, axes: tuple[str, ...] = ()) -> list[str]:
    causes = AxisCauses(at)
    for point in at:
        if message := says(point):
            causes.add(("field",), message, point, axes)
    found = list(causes.merged())
    assert {place for place, _ in found} <= {("field",)}
    return [message for _, message in found]


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        (lambda at: "", []),
        (lambda at: "bad", ["bad"]),
        (lambda at: "bad" if at["eps"] < 0.3 else "", ["bad (at eps = 0.1, 0.2)"]),
        (lambda at: "bad" if at["eps"] == 0.2 else "", ["bad (at eps = 0.2)"]),
        (lambda at: "bad" if at == {"eps": 0.1, "its": 2} else "", ["bad (at eps = 0.1, its = 2)"]),
        (
            lambda at: "bad" if at["eps"] * at["its"] == 0.2 else "",
            ["bad (at eps = 0.1, its = 2; eps = 0.2, its = 1)"],
        ),
        (lambda at: f"{at['eps']} is bad", ["0.1 is bad (at eps = 0.1; likewise at eps = 0.2, 0.3)"]),
        (lambda at: "bad" if at["its"] == 2 else "worse", ["worse (at its = 1)", "bad (at its = 2)"]),
    ],
)
def test_a_cause_names_the_axes_it_depends_on(says: Callable[[Any], str], expected: list[str]) -> None:
    assert merged(says) == expected


def test_axes_that_are_known_to_be_the_cause_are_named_with_all_their_values() -> None:
    assert merged(lambda at: "bad", axes=("its",)) == ["bad (at its = 1, 2)"]


def test_of_a_single_point_all_axes_are_named() -> None:
    assert merged(lambda at: "bad", AT[:1]) == ["bad (at eps = 0.1, its = 1)"]
    assert merged(lambda at: "bad", [{}]) == ["bad"]


def test_equal_values_of_two_kinds_are_two_values() -> None:
    at: list[Any] = [{"one": 1}, {"one": True}, {"one": [1]}]
    assert merged(lambda point: "bad" if point["one"] is True else "", at) == ["bad (at one = True)"]


def test_two_problems_at_one_place_are_both_reported() -> None:
    causes = AxisCauses(AT)
    for point in AT:
        for number in (3, 5, 3):
            causes.add((), f"{number} is odd", point)
    assert list(causes.merged()) == [((), "3 is odd"), ((), "5 is odd")]


def test_many_values_are_not_all_listed() -> None:
    at: list[Any] = [{"n": i, "m": 0} for i in range(LISTED + 5)]
    values = ", ".join(map(str, range(LISTED)))
    assert merged(lambda point: "bad", at, axes=("n",)) == [f"bad (at n = {values} and 5 more)"]
