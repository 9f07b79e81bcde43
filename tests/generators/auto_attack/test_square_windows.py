"""The squares of the Square attack: sizes of the paper's schedule, and the patterns of the authors' implementation."""

from __future__ import annotations

import numpy as np
import pytest

from temper.generators.auto_attack.square_windows import placed, square_sizes, tiled
from tests.generators.auto_attack.reference import torch


def test_sizes_of_norm_inf() -> None:
    steps = np.array([0, 10, 11, 50, 51, 200, 500, 1000, 2000, 4000, 4999])
    # sqrt(share * 32 * 32), with a share of 0.8 that is halved after 10, 50, 200, ... queries.
    expected = [29, 29, 20, 20, 14, 14, 10, 7, 5, 4, 3]
    assert square_sizes(steps, 32, 32, "inf").tolist() == expected
    assert square_sizes(steps[-1:], 4, 4, "inf").tolist() == [1]


@pytest.mark.parametrize("norm", [2, 1])
def test_sizes_of_other_norms_are_odd(norm: object) -> None:
    sizes = square_sizes(np.arange(5000), 28, 28, norm)  # type: ignore[arg-type]
    assert (sizes % 2 == 1).all()
    assert sizes.min() == 3


@pytest.mark.parametrize("norm", [2, 1])
@pytest.mark.parametrize("side", [3, 4, 7])
def test_patterns(norm: object, side: int) -> None:
    from pyautoattack.square import SquareAttack

    reference = SquareAttack(None, norm=f"L{norm}", device="cpu")
    expected = reference.eta(side).numpy()
    made = placed(np.array([[1, 2]] * 2), np.array([side] * 2), np.array([False, True]), (9, 9), norm)  # type: ignore[arg-type]
    assert any(np.allclose(pattern[1 : 1 + side, 2 : 2 + side], expected, atol=1e-6) for pattern in made)
    assert np.count_nonzero(made[0]) <= side * side


def test_tiles_cover_the_image() -> None:
    made = tiled(np.random.default_rng(0), (28, 28, 3), 2)
    assert made.shape == (28, 28, 3)
    assert np.abs(made[1:26, 1:26]).sum() == pytest.approx(np.abs(made).sum())
    assert not made[0].any()
    assert torch is not None
