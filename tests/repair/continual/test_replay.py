"""Replay: the memory, and the order of old and new images."""

from __future__ import annotations

import numpy as np
import pytest

from temper.repair.continual.replay import LabelledImages, balanced_rows, epoch_rows


def test_the_memory_has_as_many_of_each_class() -> None:
    y = np.repeat([0, 1, 5], [30, 4, 11])
    rows = balanced_rows(y, 6, np.random.default_rng(0))
    assert np.bincount(y[rows]).tolist() == [6, 4, 0, 0, 0, 6]
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert balanced_rows(y, 0, np.random.default_rng(0)).tolist() == []
    assert balanced_rows(y[:0], 3, np.random.default_rng(0)).dtype == np.int64


@pytest.mark.parametrize(("new", "old"), [(10, 3), (3, 10), (7, 7)])
def test_batches_are_half_new_half_old_and_an_epoch_covers_the_larger_set(new: int, old: int) -> None:
    rows = epoch_rows(new, old, 4, np.random.default_rng(0))
    assert len(rows) == 2 * max(new, old)
    for start in range(0, len(rows), 8):
        batch = rows[start : start + 8]
        assert (batch < new).sum() == (batch >= new).sum() == len(batch) // 2
    seen = np.bincount(rows, minlength=new + old)
    for part in (seen[:new], seen[new:]):
        assert part.max() - part.min() <= 1, "the smaller is begun anew only when it is through"
        assert part.min() >= 1


def test_without_a_memory_an_epoch_is_a_shuffle() -> None:
    rows = epoch_rows(9, 0, 4, np.random.default_rng(0))
    assert sorted(rows) == list(range(9))
    assert rows.tolist() != list(range(9))


def test_images_keep_their_labels() -> None:
    x = np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1)
    images = LabelledImages(x, np.arange(6) % 3)
    of = images.of((0, 2)).joined_with(images.of((1,)))
    assert of.x.ravel().tolist() == [0, 2, 3, 5, 1, 4]
    np.testing.assert_array_equal(of.x.ravel() % 3, of.y)
