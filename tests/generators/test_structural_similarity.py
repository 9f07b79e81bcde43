"""Structural similarity against scikit-image, image by image, and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from temper.generators.structural_similarity import Window, similarity, similarity_map

UNIFORM, GAUSSIAN = Window(7), Window(11, sigma=1.5)
SHAPES = [(28, 28, 1), (16, 13, 3), (7, 20, 2), (11, 11, 1), (5, 8, 3), (4, 4, 1), (3, 3, 3)]


def pairs(shape: tuple[int, ...], span: float) -> tuple[Any, Any]:
    """Return images and noisy versions of several strengths; the last are equal."""
    rng = np.random.default_rng(shape[0])
    one = rng.random((5, *shape))
    two = np.clip(one + rng.normal(size=one.shape) * np.array([0.01, 0.05, 0.2, 1, 0])[:, None, None, None], 0, 1)
    levels = np.uint8 if span == 255 else np.float64
    return (span * one).astype(levels), (span * two).astype(levels)


@pytest.mark.parametrize("window", [UNIFORM, GAUSSIAN], ids=["uniform", "gaussian"])
@pytest.mark.parametrize("span", [1.0, 255.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_equals_scikit_image(shape: tuple[int, ...], span: float, window: Window) -> None:
    one, two = pairs(shape, span)
    weights: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    theirs = [
        structural_similarity(a, b, win_size=window.fitting(one.shape), data_range=span, channel_axis=-1, full=True,
                              **(weights if window.sigma else {}))
        for a, b in zip(one, two, strict=True)
    ]  # fmt: skip
    found = similarity(one, two, window, span)
    assert found == pytest.approx([mean for mean, _ in theirs], abs=1e-9)
    assert (found[-1], similarity(two, one, window, span)) == (pytest.approx(1.0), pytest.approx(found))
    np.testing.assert_allclose(similarity_map(one, two, window, span), [each for _, each in theirs], atol=1e-9)


@pytest.mark.parametrize("window", [UNIFORM, GAUSSIAN], ids=["uniform", "gaussian"])
@pytest.mark.parametrize("side", [1, 2])
def test_flat_images_differ_in_brightness_only(window: Window, side: int) -> None:
    one, two = np.full((1, side, side, 1), 0.2), np.full((1, side, side, 1), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert similarity(one, two, window, 1.0) == pytest.approx([expected])
