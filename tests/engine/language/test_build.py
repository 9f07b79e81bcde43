"""From plain values to components and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from temper.core.component import Ref
from temper.core.families import Generator
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.language.build import (
    at,
    axes_in,
    build,
    changed,
    expand_path,
    fraction,
    map_references,
    number,
    plain,
    substitute,
    value_at,
)


def generator(raw: dict[str, Any], catalogue: Catalogue) -> Any:
    return build(catalogue.of(Generator)[raw["type"]], raw, catalogue)


SHIFT = {"type": "shift", "data": "grey.train", "noise": {"type": "drawn", "like": "grey"}, "seconds": 1}


def test_values_become_what_the_fields_say(catalogue: Catalogue) -> None:
    shift = generator(SHIFT, catalogue)
    assert (shift.data, shift.noise.like) == (Ref("grey", "train"), Ref("grey"))
    assert (shift.seconds, type(shift.seconds)) == (1.0, float)
    assert shift.counter is None
    pgd = generator({"type": "pgd", "model": "m", "eps": 1, "eps_step": 0.1, "max_iter": 2.0, "norm": 2.0}, catalogue)
    assert (pgd.max_iter, type(pgd.max_iter), type(pgd.norm)) == (2, int, int)


def test_plain_is_the_inverse_of_build_with_every_default(catalogue: Catalogue) -> None:
    shift = generator(SHIFT, catalogue)
    written = plain(shift)
    assert written == {
        "type": "shift",
        "data": "grey.train",
        "noise": {"type": "drawn", "like": "grey"},
        "seconds": 1.0,
        "counter": None,
    }
    assert generator(written, catalogue) == shift


def test_references_are_replaced_everywhere_and_nothing_else_is(catalogue: Catalogue) -> None:
    shift = generator(SHIFT, catalogue)
    seen: list[tuple[str, str]] = []

    def change(field: str, ref: Ref[Any]) -> Ref[Any]:
        seen.append((field, str(ref)))
        return Ref("other")

    turned = map_references(shift, change)
    assert seen == [("data", "grey.train"), ("like", "grey")]
    assert [ref.stage for ref in turned.references()] == ["other", "other"]
    assert (shift.data.stage, turned.seconds) == ("grey", 1.0)
    assert map_references(shift, lambda _, ref: ref) is shift
    assert changed(shift) is shift


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
    assert list(axes_in(value)) == axes
    replaced = substitute(value, dict.fromkeys("ab", 7))
    assert list(axes_in(replaced)) == []


def test_axes_without_a_value_are_left() -> None:
    assert substitute({"x": ["$a", "$b"]}, {"a": 1}) == {"x": [1, "$b"]}


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**9))
def test_a_fraction_is_its_quotient(above: int, below: int) -> None:
    assert number(f"{above}/{below}") == above / below


@pytest.mark.parametrize("value", ["8/0", "1e400", "abc", "", 3, None, True, "9" * 400 + "/1"])
def test_what_is_no_fraction_stays(value: Any) -> None:
    assert fraction(value) is value


@pytest.mark.parametrize(
    ("point", "value", "said"),
    [
        ({}, None, ""),
        ({"a": 1, "b": "x"}, None, " (at a = 1, b = x)"),
        ({"a": 1, "b": "x"}, ["$b"], " (at b = x)"),
        ({"a": 1}, 5, " (at a = 1)"),
    ],
)
def test_messages_name_the_point_of_the_axes(point: dict[str, Any], value: Any, said: str) -> None:
    assert at(point, value) == said


@pytest.mark.parametrize(
    ("place", "found"),
    [((), {"a": [1, 2]}), (("a", 1), 2), (("a", 5), [1, 2]), (("b", 0), {"a": [1, 2]}), (("a", "x"), [1, 2])],
)
def test_a_value_is_found_by_its_path_or_its_nearest_ancestor(place: Any, found: Any) -> None:
    assert value_at({"a": [1, 2]}, place) == found


def test_paths_start_at_the_folder_of_their_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHTS", "/weights")
    monkeypatch.delenv("NOWHERE", raising=False)
    folder = Path("/experiments/mnist")
    assert expand_path("a/../b.h5", folder) == ("/experiments/mnist/b.h5", "")
    assert expand_path("../b.h5", folder) == ("/experiments/b.h5", "")
    assert expand_path("${WEIGHTS}/b.h5", folder) == ("/weights/b.h5", "")
    assert expand_path("/b.h5", folder) == ("/b.h5", "")
    assert expand_path("~/b.h5", folder) == (str(Path.home() / "b.h5"), "")
    assert expand_path("${NOWHERE}/b.h5", folder)[1] == "NOWHERE"
