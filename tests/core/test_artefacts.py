"""Examples: their invariants, and how sets made from one another find each other's rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.artefacts import Examples


def examples(index: list[int]) -> Examples:
    n = len(index)
    return Examples(x=np.zeros((n, 1, 1, 1), np.float32), y=np.zeros(n, np.int64), index=np.array(index, np.int64))


@given(st.lists(st.integers(0, 1000), unique=True, min_size=1), st.data())
def test_rows_are_found_by_index(index: list[int], data: st.DataObject) -> None:
    asked = data.draw(st.lists(st.sampled_from(index)))
    rows = examples(index).rows_of(np.array(asked, np.int64))
    assert [index[row] for row in rows] == asked


@pytest.mark.parametrize("index", [[], [5, 3, 9]])
def test_an_image_of_another_set_is_refused(index: list[int]) -> None:
    for strange in (0, 4, 10):
        with pytest.raises(ValueError, match=f"image {strange} is not among the {len(index)} images"):
            examples(index).rows_of(np.array([strange]))


def test_pixels_outside_the_unit_interval_are_refused() -> None:
    x = np.full((1, 1, 1, 1), np.nan, np.float32)
    for value in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="pixels in"):
            Examples(x=np.full_like(x, value), y=np.zeros(1, np.int64), index=np.zeros(1, np.int64))
