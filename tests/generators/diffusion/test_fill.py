"""Smooth filling: exact for images that are linear gradients."""

from __future__ import annotations

import numpy as np
import pytest

from temper.generators.diffusion.fill import Fill, harmonic
from temper.generators.diffusion.painter import Holes
from tests.generators.diffusion.painter_context import Square, context, examples, seeds


def test_a_linear_gradient_continues_through_a_hole() -> None:
    down, across = np.mgrid[0:12, 0:9] / 12
    slope = np.stack([down, across / 2, 0.9 - down / 2 - across / 3], axis=-1).astype(np.float32)
    hole = np.zeros((12, 9), np.bool_)
    hole[2:8, 3:7] = hole[9, 1] = True
    spoilt = np.where(hole[..., None], np.float32(0.123), slope)
    assert harmonic(spoilt, hole) == pytest.approx(slope, abs=1e-6)


def test_a_hole_at_the_border_has_no_neighbours_beyond_it() -> None:
    x = np.array([[[0.2], [0.5], [0.0], [0.0]]], np.float32)
    hole = np.array([[False, False, True, True]])
    assert harmonic(x, hole).ravel().tolist() == pytest.approx([0.2, 0.5, 0.5, 0.5])


def test_a_hole_without_surroundings_gets_the_mean() -> None:
    x = np.random.default_rng(0).random((4, 5, 3), np.float32)
    made = harmonic(x, np.ones((4, 5), np.bool_))
    assert made == pytest.approx(np.broadcast_to(x.mean(axis=(0, 1)), (4, 5, 3)))


def test_images_are_filled_independently() -> None:
    data = examples()
    chosen, place = seeds(data, slice(4)), context(data)
    masks = Square().masks(chosen, place)
    made = Fill().paint(Holes(chosen, masks, chosen.y), place).x
    for row in range(4):
        one = chosen.take(slice(row, row + 1))
        alone = Fill().paint(Holes(one, masks[row : row + 1], one.y), place).x
        assert np.array_equal(made[row], alone[0])
        assert not np.array_equal(made[row], chosen.x[row])
