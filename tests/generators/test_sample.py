from __future__ import annotations

from typing import Any

import numpy as np

from temper.core.artefacts import Examples
from temper.core.component import Ref
from temper.core.run import Run
from temper.generators.sample import Sample

SHADES = (np.arange(50) / 50).astype(np.float32)[:, None, None, None]
DATA = Examples(x=SHADES, y=np.arange(50) % 5, index=100 + np.arange(50))


def drawn(seed: int = 1, part: Any = "train", **fields: Any) -> Examples:
    sample = Sample(data=Ref("data"), **fields)
    return sample.produce(Run(sample.stream("x"), seed, part, lambda ref: DATA, lambda _: {}, lambda *_: None))


def test_images_are_sampled_with_their_labels_and_indices() -> None:
    found = drawn(size=20)
    rows = found.index - 100
    assert len(np.unique(rows)) == 20
    np.testing.assert_array_equal(found.x, SHADES[rows])
    np.testing.assert_array_equal(found.y, rows % 5)
    assert rows.max() > 25 > rows.min()


def test_folds_have_no_image_in_common() -> None:
    found = [set(drawn(size=10, folds=3, fold=fold).index) for fold in (1, 2, 3)]
    assert [len(fold) for fold in found] == [10, 10, 10]
    assert len(set.union(*found)) == 30


def test_a_small_part_is_divided_among_folds() -> None:
    found = [set(drawn(size=1000, folds=3, fold=fold).index) for fold in (1, 2, 3)]
    assert [len(fold) for fold in found] == [16, 16, 16]
    assert len(set.union(*found)) == 48


def test_seeds_and_parts_have_different_samples() -> None:
    first = set(drawn(size=20).index)
    assert first == set(drawn(size=20).index)
    assert first != set(drawn(seed=2, size=20).index)
    assert first != set(drawn(part="test", size=20).index)


def test_an_invalid_fold_is_reported() -> None:
    ((field, message),) = Sample(data=Ref("data"), size=3, folds=2, fold=3).check()
    assert field == "fold"
    assert "expected 1 to 2" in message
    assert not list(Sample(data=Ref("data"), size=3, folds=2, fold=2).check())


def test_object_masks_are_sampled_with_their_images() -> None:
    masks = (np.arange(50) % 3 == 0)[:, None, None]
    data = Examples(x=SHADES, y=np.arange(50) % 5, index=100 + np.arange(50), masks=masks)
    found = Sample(data=Ref("data"), size=20).produce(
        Run("x", 1, "train", lambda ref: data, lambda _: {}, lambda *_: None)
    )
    assert found.masks is not None
    np.testing.assert_array_equal(found.masks[:, 0, 0], (found.index - 100) % 3 == 0)
