"""Examples: their invariants, and rows by index between derived sets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from temper.core.artefacts import Examples


def examples(index: list[int]) -> Examples:
    n = len(index)
    return Examples(x=np.zeros((n, 1, 1, 1), np.float32), y=np.zeros(n, np.int64), index=np.array(index, np.int64))


@given(st.lists(st.integers(0, 1000), unique=True, min_size=1), st.data())
def test_rows_are_found_by_index(index: list[int], data: st.DataObject) -> None:
    asked = data.draw(st.lists(st.sampled_from(index)))
    rows = examples(index).rows_of(np.array(asked, np.int64))
    assert [index[row] for row in rows] == asked


@pytest.mark.parametrize("index", [[], [5, 3, 9]])
def test_an_unknown_image_is_rejected(index: list[int]) -> None:
    for strange in (0, 4, 10):
        with pytest.raises(ValueError, match=f"image {strange} is not among the {len(index)} images"):
            examples(index).rows_of(np.array([strange]))


def test_pixels_outside_the_unit_interval_are_rejected() -> None:
    x = np.full((1, 1, 1, 1), np.nan, np.float32)
    for value in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="pixels in"):
            Examples(x=np.full_like(x, value), y=np.zeros(1, np.int64), index=np.zeros(1, np.int64))


def masked(n: int = 3) -> Examples:
    masks = np.zeros((n, 2, 2), bool)
    masks[np.arange(n), np.arange(n) % 2] = True
    return Examples(
        x=np.linspace(0, 1, n * 4, dtype=np.float32).reshape(n, 2, 2, 1),
        y=np.arange(n),
        index=10 + np.arange(n),
        info={"attack": "none", "class_names": ["a", "b", "c"]},
        masks=masks,
    )


@pytest.mark.parametrize("masks", [np.zeros((3, 2, 2), np.uint8), np.zeros((2, 2, 2), bool), np.zeros((3, 2), bool)])
def test_masks_must_have_the_size_of_the_images(masks: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"masks: expected bool \(3, 2, 2\)"):
        replace(masked(), masks=masks)


def test_masks_are_stored_and_read_only(tmp_path: Path) -> None:
    masked().save(tmp_path)
    read = Examples.load(tmp_path)
    assert read.masks is not None
    np.testing.assert_array_equal(read.masks, masked().masks)
    with pytest.raises(ValueError, match="read-only"):
        read.masks[0] = True
    with pytest.raises(ValueError, match="read-only"):
        masked().masks[0] = True  # type: ignore[index]


def test_a_stored_set_without_masks_loads_without_masks(tmp_path: Path) -> None:
    replace(masked(), masks=None).save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.npy", "info.json", "x.npy", "y.npy"]
    assert Examples.load(tmp_path).masks is None


def test_taken_rows_keep_their_masks_and_lose_metadata_of_the_whole_set() -> None:
    some, whole = masked().take(np.array([2, 0])), masked()
    for name in ("x", "y", "index", "masks"):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[[2, 0]])
    assert some.info == {"class_names": ["a", "b", "c"]}
    assert replace(whole, masks=None).take(np.array([1])).masks is None
