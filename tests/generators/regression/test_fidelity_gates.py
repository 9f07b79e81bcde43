"""Fidelity gates: scikit-image's similarity, DeepHunter's bound."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from temper.generators.regression.fidelity_gates import (
    AnyFidelity,
    DistanceFidelity,
    StructuralFidelity,
    difference_counts,
    within_bounds,
)

NO_SCORES = np.zeros(0, np.float32)


@pytest.mark.parametrize("shape", [(28, 28, 1), (16, 13, 3)])
def test_the_gate_equals_scikit_images_similarity(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    roots = rng.integers(0, 256, (5, *shape)).astype(np.uint8)
    noise = rng.normal(0, [[[[1]]], [[[5]]], [[[20]]], [[[60]]], [[[0]]]], roots.shape)
    x = np.clip(roots + noise, 0, 255).astype(np.uint8)
    theirs = [structural_similarity(a, b, data_range=255, channel_axis=-1) for a, b in zip(x, roots, strict=True)]
    for least in (0.99, 0.9, 0.5):
        kept = StructuralFidelity(min=least).keeps(x, roots, NO_SCORES, NO_SCORES)
        assert kept.tolist() == [value >= least for value in theirs]


def test_few_changed_entries_or_small_changes_pass() -> None:
    roots = np.full((5, 10, 10, 1), 100, np.uint8)
    x = roots.copy()
    x[1] += 50  # all by less than 51
    x[2] -= 51
    x[3, 0, 0] = 255  # one entry of a hundred
    x[4, 0, :2] = 0  # two are not fewer than two
    assert within_bounds(*difference_counts(x, roots), 100, 0.02, 0.2).tolist() == [True, True, False, True, False]
    assert DistanceFidelity().keeps(x, roots, NO_SCORES, NO_SCORES).tolist() == [True, True, False, True, False]
    assert AnyFidelity().keeps(x, roots, NO_SCORES, NO_SCORES).all()
