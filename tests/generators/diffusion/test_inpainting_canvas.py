"""The canvas: a lossless round trip, and masks that cover exactly what they should."""

from __future__ import annotations

import numpy as np
import pytest

from temper.generators.diffusion.inpainting_canvas import Canvas


def pictures(n: int, shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).random((n, *shape), np.float32)


@pytest.mark.parametrize(
    ("shape", "size", "halvings", "canvas"),
    [
        ((8, 8, 1), None, 1, (8, 8)),
        ((4, 3, 1), None, 1, (8, 6)),
        ((7, 7, 1), None, 1, (14, 14)),
        ((28, 28, 1), None, 2, (28, 28)),
        ((32, 32, 3), None, 2, (32, 32)),
        ((90, 45, 3), None, 2, (64, 32)),
        ((100, 60, 3), 50, 2, (52, 32)),
        ((8, 8, 1), 16, 1, (16, 16)),
    ],
)
def test_its_sides_can_be_halved(
    shape: tuple[int, int, int], size: int | None, halvings: int, canvas: tuple[int, int]
) -> None:
    made = Canvas.of(shape, size, halvings)
    assert (made.rows, made.columns) == canvas
    x = pictures(2, shape)
    assert tuple(made.images(x).shape) == (2, shape[2], *canvas)
    assert made.pixels(made.images(x)).shape == x.shape


@pytest.mark.parametrize("shape", [(8, 8, 1), (7, 5, 3), (28, 28, 1), (33, 64, 3)])
@pytest.mark.parametrize("times", [None, 2])
def test_the_round_trip_is_lossless(shape: tuple[int, int, int], times: int | None) -> None:
    canvas = Canvas.of(shape, times and times * max(shape), 2)
    x = pictures(3, shape)
    assert canvas.pixels(canvas.images(x)) == pytest.approx(x, abs=1e-6)


def test_values_are_between_minus_one_and_one() -> None:
    x = np.array([0, 0.25, 1], np.float32).reshape(1, 1, 3, 1)
    canvas = Canvas((1, 3, 1), 3, 1)
    assert canvas.images(x).flatten().tolist() == [-1, -0.5, 1]
    assert canvas.pixels(5 * canvas.images(x)).flatten().tolist() == [0, 0, 1]
    smooth = Canvas((8, 8, 3), 64, 8, smooth=True)  # which overshoots at edges
    edges = (pictures(1, (8, 8, 3)) > 0.5).astype(np.float32)
    assert float(smooth.images(edges).abs().max()) <= 1


def test_small_pixels_become_blocks_with_their_masks() -> None:
    canvas = Canvas.of((8, 8, 1), 16, 1)
    masks = pictures(4, (8, 8, 1))[..., 0] > 0.7
    blocks = masks.repeat(2, axis=1).repeat(2, axis=2)
    assert np.array_equal(canvas.masks(masks)[:, 0].numpy() > 0, blocks)


def test_a_smaller_canvas_masks_whatever_touches_the_mask() -> None:
    canvas = Canvas((60, 60, 1), 20, 1)
    mask = np.zeros((1, 60, 60), np.bool_)
    mask[0, 4, 32] = True
    found = canvas.masks(mask)[0, 0].numpy()
    assert np.argwhere(found).tolist() == [[1, 10]]
    assert set(found.flatten()) == {0, 1}
