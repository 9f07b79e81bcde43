"""Fractions and paths as users write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from temper.core.families import Generator
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.language.written_values import converted, expand_path, fraction, map_values, number


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**9))
def test_a_fraction_is_its_quotient(above: int, below: int) -> None:
    assert number(f"{above}/{below}") == above / below


@pytest.mark.parametrize("value", ["8/0", "1e400", "abc", "", 3, None, True, "9" * 400 + "/1"])
def test_what_is_no_fraction_stays(value: Any) -> None:
    assert fraction(value) is value


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


def test_fractions_become_numbers_where_a_number_is_meant(catalogue: Catalogue) -> None:
    family = catalogue.of(Generator)
    raw = {"type": "shift", "data": "1/2", "noise": {"type": "fixed", "by": "1/4"}, "seconds": "3/2", "unknown": "1/2"}
    found = converted(raw, family["shift"], catalogue, lambda place, text: text)
    assert found == {**raw, "noise": {"type": "fixed", "by": 0.25}, "seconds": 1.5}
    params = {"type": "art", "params": {"eps": "8/255", "norm": "inf"}}
    assert converted(params, family["art"], catalogue, lambda place, text: text)["params"] == {
        "eps": 8 / 255,
        "norm": "inf",
    }


def test_each_single_value_is_seen_once_with_its_place(catalogue: Catalogue) -> None:
    seen: dict[Any, tuple[str, str]] = {}

    def note(place: Any, field: Any, kind: Any, value: Any) -> Any:
        seen[place] = field.name, kind.name
        return value

    raw = {"type": "shift", "data": "grey", "noise": {"type": "drawn", "like": "grey"}, "counter": None}
    assert map_values(raw, catalogue.of(Generator)["shift"], catalogue, note) == raw
    assert seen[("data",)] == ("data", "ref")
    assert seen["noise", "like"] == ("like", "ref")
    assert map_values([1], catalogue.of(Generator)["shift"], catalogue, note) == [1]
