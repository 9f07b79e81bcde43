"""Mutations against OpenCV, which the published fuzzers call: bit for bit, or to one level where it computes in other steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest

from temper.generators.regression import blur, geometric_mutations, pixel_mutations
from temper.generators.regression.pixel_mutations import Pixels

SHAPES = [(28, 28, 1), (32, 32, 3), (12, 9, 1), (7, 16, 3)]
Single = Callable[[Any], Any]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def images(shape: tuple[int, ...]) -> Pixels:
    return np.random.default_rng(shape[0]).integers(0, 256, (8, *shape)).astype(np.uint8)


def each(function: Single, x: Pixels) -> Pixels:
    """Return the results of an OpenCV function for each image."""
    return np.stack(
        [function(image.squeeze(axis=2) if image.shape[2] == 1 else image).reshape(image.shape) for image in x]
    )


def apart(ours: Pixels, theirs: Pixels) -> tuple[int, float]:
    """Return the largest difference, and the share of entries that differ."""
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    return int(difference.max()), float((difference > 0).mean())


BLURS: list[tuple[str, Callable[[Pixels], Pixels], Single]] = [
    *((f"box {s}", partial(blur.box, size=s), lambda a, s=s: cv2.blur(a, (s, s))) for s in (2, 3, 4, 5)),
    *((f"gaussian {s}", partial(blur.gaussian, size=s), lambda a, s=s: cv2.GaussianBlur(a, (s, s), 0)) for s in (3, 5, 7)),
    *((f"median {s}", partial(blur.median, size=s), lambda a, s=s: cv2.medianBlur(a, s)) for s in (3, 5)),
]  # fmt: skip


@shapes
@pytest.mark.parametrize(("ours", "theirs"), [pytest.param(a, b, id=name) for name, a, b in BLURS])
def test_blurs(ours: Callable[[Pixels], Pixels], theirs: Single, shape: tuple[int, ...]) -> None:
    x = images(shape)
    np.testing.assert_array_equal(ours(x), each(theirs, x))


@shapes
def test_bilateral_blur(shape: tuple[int, ...]) -> None:
    x = images(shape)
    most, share = apart(blur.bilateral(x, 3, 50.0), each(lambda a: cv2.bilateralFilter(a, 6, 50, 50), x))
    assert (most <= 1, share < 0.002) == (True, True)


@shapes
@pytest.mark.parametrize("size", [(1, 2), (2, 1), (2, 2), (1, 3), (3, 1), (3, 3)])
def test_erosion_and_dilation(size: tuple[int, int], shape: tuple[int, ...]) -> None:
    x, kernel = images(shape), np.ones(size, np.uint8)
    np.testing.assert_array_equal(pixel_mutations.eroded(x, *size), each(lambda a: cv2.erode(a, kernel), x))
    np.testing.assert_array_equal(pixel_mutations.dilated(x, *size), each(lambda a: cv2.dilate(a, kernel), x))


@shapes
def test_affine_mutations(shape: tuple[int, ...]) -> None:
    x = images(shape)
    height, width = shape[:2]

    def warped(matrix: Any) -> Pixels:
        return each(lambda a: cv2.warpAffine(a, np.float32(matrix), (width, height)), x)

    def near(ours: Pixels, theirs: Pixels) -> None:
        most, share = apart(ours, theirs)
        assert (most <= 1, share < 0.005) == (True, True)

    whole = np.ones(len(x), np.int64)
    for factor in (-0.6, -0.23, 0.1, 0.5):
        near(geometric_mutations.sheared(x, whole * factor), warped([[1, -factor, 0], [0, 1, 0]]))
    for degrees in (-50.0, -13.3, 5.0, 45.0):
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
        near(geometric_mutations.rotated(x, whole * degrees), warped(turn))
    for right, down in ((-3, 2), (0, 0), (1, -2)):
        np.testing.assert_array_equal(
            geometric_mutations.translated(x, whole * right, whole * down), warped([[1, 0, right], [0, 1, down]])
        )


def resized(image: Any, factor: float) -> Any:
    """Return an image as DRFuzz scales it: cubic, then centre-cropped or padded with black."""
    made = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    framed = np.zeros_like(image)
    source, target = [], []
    for length, size in zip(made.shape[:2], image.shape[:2], strict=True):
        margin = abs(length - size) // 2
        cut, put = slice(margin, margin + min(length, size)), slice(0, min(length, size))
        source.append(cut if length > size else put)
        target.append(put if length > size else cut)
    framed[tuple(target)] = made[tuple(source)]
    return framed


@shapes
@pytest.mark.parametrize("factor", [0.7, 0.75, 0.83, 0.9, 0.97, 0.985, 0.99, 1.0, 1.01, 1.015, 1.03, 1.1, 1.2])
def test_scaling(factor: float, shape: tuple[int, ...]) -> None:
    x = images(shape)
    most, share = apart(geometric_mutations.scaled(x, np.full(len(x), factor)), each(lambda a: resized(a, factor), x))
    assert (most <= 1, share < 0.001) == (True, True)


def test_an_image_whose_rounded_size_is_its_own_is_copied_and_the_others_are_not() -> None:
    x = images((28, 28, 1))
    factors = np.array([1.017, 0.983, 1.019, 0.981, 1.0, 0.99, 1.2, 0.7])  # 28.5 is rounded to 28
    copied = (geometric_mutations.scaled(x, factors) == x).all(axis=(1, 2, 3))
    assert copied.tolist() == [True, True, False, False, True, True, False, False]
    flat = images((7, 16, 3))[:1]
    assert not np.array_equal(geometric_mutations.scaled(flat, np.array([1.05])), flat), "17 columns, though 7 rows"
