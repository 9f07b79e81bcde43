"""Axes in plain values, and the points they make."""

from __future__ import annotations

from typing import Any

import pytest

from temper.engine.language.axis_points import axes_in, axis_places, points, shows_new_values, substitute, value_at


@pytest.mark.parametrize(
    ("value", "axes"),
    [
        ("$a", ["a"]),
        ("$a.b", []),
        ("a$b", []),
        ("$", []),
        ("$1", []),
        ({"x": ["$a", {"y": "$b"}]}, ["a", "b"]),
        (1, []),
    ],
)
def test_an_axis_is_a_whole_text_that_starts_with_a_dollar(value: Any, axes: list[str]) -> None:
    assert axes_in(value) == axes
    replaced = substitute(value, dict.fromkeys("ab", 7))
    assert axes_in(replaced) == []


def test_axes_without_a_value_are_left() -> None:
    assert substitute({"x": ["$a", "$b"]}, {"a": 1}) == {"x": [1, "$b"]}


def test_an_axis_is_found_at_each_place_that_uses_it() -> None:
    value = {"x": ["$a", {"y": "$b"}], "z": "$a"}
    assert list(axis_places(value)) == [(("x", 0), "a"), (("x", 1, "y"), "b"), (("z",), "a")]
    assert axes_in(value) == ["a", "b"]


def test_points_are_all_combinations_with_the_last_axis_fastest() -> None:
    axes = {"a": (1, 2), "b": ("x", "y")}
    assert [tuple(point.values()) for point in points(axes)] == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]
    assert list(points(axes, {"a": 3})) == [{"a": 3, "b": "x"}, {"a": 3, "b": "y"}]
    assert list(points({})) == [{}]
    assert list(points({"a": ()})) == []


@pytest.mark.parametrize(
    ("value", "new"),
    [
        ({"x": "$a", "y": "$b"}, [True, True, True, False]),
        ({"x": ["$a", "$b"]}, [True, True, True, True]),  # a list may hold one value twice at one of the points only
        ({"x": ["$a", {"y": ["$b"]}]}, [True, True, True, True]),
        ({"x": ["$a"], "y": ["$b"]}, [True, True, True, False]),
    ],
)
def test_a_schema_has_something_new_to_check_where_a_value_is_new(value: Any, new: list[bool]) -> None:
    at = list(points({"a": (1, True), "b": (0.1, 0.2)}))
    assert list(shows_new_values(axis_places(value), at)) == new


@pytest.mark.parametrize(
    ("place", "found"),
    [((), {"a": [1, 2]}), (("a", 1), 2), (("a", 5), [1, 2]), (("b", 0), {"a": [1, 2]}), (("a", "x"), [1, 2])],
)
def test_a_value_is_found_by_its_path_or_its_nearest_ancestor(place: Any, found: Any) -> None:
    assert value_at({"a": [1, 2]}, place) == found
