"""The mutation operators: closed forms, SciPy and scikit-image, and batches against loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from skimage.restoration import denoise_bilateral
from skimage.transform import AffineTransform, warp

from temper.generators.regression import blur, geometric_mutations, pixel_mutations
from temper.generators.regression.mutation_operators import Operator, deephunter, drfuzz, mutate
from temper.generators.regression.pixel_mutations import Pixels


def images(n: int = 6, height: int = 12, width: int = 10, channels: int = 1) -> Pixels:
    return np.random.default_rng(5).integers(0, 256, (n, height, width, channels)).astype(np.uint8)


def numbers(*values: float) -> Any:
    return np.array(values)


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_and_contrast(channels: int) -> None:
    x = images(2, channels=channels)
    factor = numbers(0.5, 1.5)
    made = pixel_mutations.contrast(x, factor)
    assert np.array_equal(made, np.clip(np.rint(x * factor[:, None, None, None]), 0, 255))
    brighter = pixel_mutations.brightness(x, numbers(20, -20)).astype(int)
    assert np.array_equal(brighter[0], np.minimum(x[0].astype(int) + 20, 255))
    assert np.array_equal(brighter[1], np.maximum(x[1].astype(int) - 20, 0))


def test_noise_is_clipped_where_a_cast_wraps() -> None:
    x = np.zeros((1, 200, 200, 1), np.uint8)
    x[:, :, 100:] = 255
    variance = numbers(2)
    clipped = pixel_mutations.additive_noise(x, variance, np.random.default_rng(0))
    assert clipped[:, :, :100].max() < 10
    assert clipped[:, :, 100:].min() > 245
    wrapped = pixel_mutations.additive_noise(x, variance, np.random.default_rng(0), wrap=True)
    # Black turns white where the noise is below -1, a share of P(N < -1/sqrt 2).
    assert np.mean(wrapped[:, :, :100] > 200) == pytest.approx(0.24, abs=0.01)
    moved = pixel_mutations.additive_noise(
        np.full((1, 200, 200, 1), 128, np.uint8), numbers(25), np.random.default_rng(0)
    )
    assert moved.astype(float).var() == pytest.approx(25 + 1 / 12, rel=0.03)
    level = np.full((1, 200, 200, 1), 100, np.uint8)
    multiplied = pixel_mutations.multiplicative_noise(level, numbers(0.01), np.random.default_rng(0))
    assert multiplied.astype(float).var() == pytest.approx(100, rel=0.03)


@pytest.mark.parametrize(("shape", "most"), [((28, 28, 1), 2), ((32, 32, 3), 7)])
def test_salt_and_pepper_changes_entries(shape: tuple[int, int, int], most: int) -> None:
    x = np.full((400, *shape), 128, np.uint8)
    made = pixel_mutations.salt_and_pepper(x, 0.004, np.random.default_rng(0))
    for level in (0, 255):
        changed = (made == level).sum(axis=(1, 2, 3))
        assert changed.max() == most
        assert changed.min() >= 1
    assert set(np.unique(made)) == {0, 128, 255}


@pytest.mark.parametrize("channels", [1, 3])
def test_patches(channels: int) -> None:
    x = images(2, channels=channels)
    made = pixel_mutations.patched(x, np.array([0, 3]), np.array([2, 7]), lambda patch: 255 - patch)
    expected = x.copy()
    expected[0, 0:2, 2:4] = 255 - x[0, 0:2, 2:4]
    expected[1, 3:5, 7:9] = 255 - x[1, 3:5, 7:9]
    assert np.array_equal(made, expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1), (3, 3)])
def test_erosion_and_dilation_equal_scipy(height: int, width: int) -> None:
    x = images(3, channels=3)
    size = (1, height, width, 1)
    assert np.array_equal(
        pixel_mutations.eroded(x, height, width), ndimage.minimum_filter(x, size, mode="constant", cval=255)
    )
    assert np.array_equal(
        pixel_mutations.dilated(x, height, width), ndimage.maximum_filter(x, size, mode="constant", cval=0)
    )


@pytest.mark.parametrize("size", [3, 4, 5])
def test_box_blur_equals_scipy(size: int) -> None:
    x = images(3, channels=3)
    expected = ndimage.uniform_filter(x.astype(float), (0, size, size, 0), mode="mirror")
    # OpenCV divides by 16 so that 7/16 is rounded up.
    assert np.abs(blur.box(x, size) - expected).max() <= 0.5 + 1 / 16


@pytest.mark.parametrize("size", [3, 5, 7])
def test_gaussian_blur_has_the_deviation_of_its_size(size: int) -> None:
    impulse = np.zeros((1, 15, 15, 1), np.uint8)
    impulse[0, 7, 7] = 255
    line = blur.gaussian(impulse, size)[0, 7, :, 0].astype(float)
    sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    weights = np.exp(-((np.arange(15) - 7) ** 2) / (2 * sigma**2)) * (np.abs(np.arange(15) - 7) <= size // 2)
    assert np.abs(line / line.sum() - weights / weights.sum()).max() < 0.025
    flat = np.full((1, 9, 9, 1), 200, np.uint8)
    assert np.array_equal(blur.gaussian(flat, size), flat)


@pytest.mark.parametrize("size", [3, 5])
def test_median_equals_scipy(size: int) -> None:
    x = images(4, channels=3)
    assert np.array_equal(blur.median(x, size), ndimage.median_filter(x, (1, size, size, 1), mode="nearest"))


def test_bilateral_blur_keeps_edges_and_follows_the_formula() -> None:
    x = images(1, 9, 9, 2)
    radius, deviation = 3, 50.0
    made = blur.bilateral(x, radius, deviation)
    padded = np.pad(x[0].astype(float), [(3, 3), (3, 3), (0, 0)], mode="reflect")
    total, weights = np.zeros(2), 0.0
    for i in range(-3, 4):
        for j in range(-3, 4):
            if i * i + j * j <= 9:
                other = padded[3 + 4 + i, 3 + 5 + j]
                difference = np.abs(other - padded[3 + 4, 3 + 5]).sum()
                weight = np.exp(-(difference**2 + i * i + j * j) / (2 * deviation**2))
                total, weights = total + weight * other, weights + weight
    assert np.abs(made[0, 4, 5] - total / weights).max() <= 0.5 + 1e-3
    # Where colours hardly differ it is scikit-image's, whose window is square and whose colours are binned.
    soft = (ndimage.gaussian_filter(images(1, 20, 20).astype(float), (0, 3, 3, 0)) % 256).astype(np.uint8)
    theirs = 255 * denoise_bilateral(soft[0, :, :, 0] / 255, win_size=7, sigma_color=50 / 255, sigma_spatial=50)
    assert np.abs(blur.bilateral(soft, 3, 50.0)[0, 5:-5, 5:-5, 0] - theirs[5:-5, 5:-5]).max() < 2


def test_translation_shifts_pixels() -> None:
    x = images(3, channels=3)
    made = geometric_mutations.translated(x, np.array([2, 0, -3]), np.array([0, 1, -2]))
    expected = np.zeros_like(x)
    expected[0, :, 2:] = x[0, :, :-2]
    expected[1, 1:] = x[1, :-1]
    expected[2, :-2, :-3] = x[2, 2:, 3:]
    assert np.array_equal(made, expected)


def _warped(image: Pixels, matrix: Any) -> Any:
    """Return an image warped by scikit-image: (column, row) shows what was at the matrix times it; black outside."""
    padded = np.pad(image.astype(float), [(1, 1), (1, 1), (0, 0)])
    shift = AffineTransform(translation=(1, 1))
    inside = warp(padded, AffineTransform(matrix) + shift, order=1, output_shape=image.shape[:2], preserve_range=True)
    return np.asarray(inside)


@pytest.mark.parametrize("channels", [1, 3])
def test_shear_and_rotation_equal_scikit_image(channels: int) -> None:
    x = images(4, 12, 12, channels)
    factors = numbers(-0.6, -0.1, 0.3, 0.6)
    for image, made, t in zip(x, geometric_mutations.sheared(x, factors), factors, strict=True):
        assert np.abs(made - _warped(image, [[1, t, 0], [0, 1, 0], [0, 0, 1]])).max() <= 0.51
    degrees = numbers(-50, -3, 10, 50)
    for image, made, turn in zip(x, geometric_mutations.rotated(x, degrees), np.deg2rad(degrees), strict=True):
        to, turned, back = (
            AffineTransform(translation=(-6, -6)), AffineTransform(rotation=turn), AffineTransform(translation=(6, 6))
        )  # fmt: skip
        assert np.abs(made - _warped(image, (to + turned + back).params)).max() <= 0.51


def test_a_quarter_turn_is_exact_and_counter_clockwise() -> None:
    x = images(1, 12, 12)
    made = geometric_mutations.rotated(x, numbers(90))[0, :, :, 0]
    # About the pixel (6, 6): what is right of it comes above it.
    assert made[6 - 4, 6] == x[0, 6, 6 + 4, 0]
    assert np.array_equal(made[1:, :], np.rot90(x[0, :, :, 0])[:-1, :][:, :])


def test_scaling_keeps_the_centre() -> None:
    x = images(2, channels=3)
    assert np.array_equal(geometric_mutations.scaled(x, numbers(1, 1)), x)
    flat = np.full((2, 12, 12, 1), 200, np.uint8)
    larger, smaller = geometric_mutations.scaled(flat, numbers(1.2, 0.7))
    assert (larger == 200).all()
    assert (smaller[2:-2, 2:-2] == 200).all()  # round(0.7 * 12) = 8 of 12
    assert smaller.astype(int).sum() == 64 * 200
    # Doubled, the cubic kernel takes 1/4 and 3/4 between pixels, with weights that sum to one.
    ramp = np.tile(np.arange(0, 240, 20, dtype=np.uint8), (1, 12, 1))[..., None]
    doubled = geometric_mutations.scaled(ramp, numbers(2.0))[0, 6, :, 0].astype(float)
    assert np.allclose(doubled[1:-1], (np.arange(12)[1:-1] + 6 + 0.5) / 2 * 20 - 10, atol=1.5)


@pytest.mark.parametrize("operators", [drfuzz(), drfuzz(wrap=True), deephunter()], ids=["drfuzz", "wrap", "deephunter"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (14, 11, 3)])
def test_every_operator_samples_parameters_per_image(
    operators: tuple[Operator, ...], shape: tuple[int, int, int]
) -> None:
    x = np.repeat(images(1, *shape), 60, axis=0)
    for operator in operators:
        made = operator.mutate(x, np.random.default_rng(0))
        assert made.dtype == np.uint8
        assert made.shape == x.shape
        assert len(np.unique(made.reshape(60, -1), axis=0)) > 2, operator.name
        assert np.array_equal(made, operator.mutate(x, np.random.default_rng(0)))


def test_the_operator_sets_are_the_published_ones() -> None:
    assert [operator.name for operator in drfuzz()] == [
        "translation", "scale", "shear", "rotation", "contrast", "brightness", "blur", "erode", "dilate", "reverse_patch",
        "white_patch", "black_patch", "gauss_noise", "multiplicative_noise", "saltpepper_noise",
    ]  # fmt: skip
    assert sum(operator.weight for operator in deephunter() if not operator.local) == 37
    assert sum(operator.weight for operator in deephunter() if operator.local) == 32


def test_translations_are_biased_to_the_left_as_published() -> None:
    x = np.zeros((3000, 9, 9, 1), np.uint8)
    x[:, 4, 4] = 255
    made = drfuzz()[0].mutate(x, np.random.default_rng(0))
    _, rows, columns, _ = np.nonzero(made)
    for place in (rows, columns):
        values, counts = np.unique(place - 4, return_counts=True)
        assert values.tolist() == [-3, -2, -1, 0, 1, 2]
        assert counts.min() > 400


def test_each_image_is_mutated_by_its_own_operator() -> None:
    double = Operator("double", lambda x, rng: x * 2, local=True)
    add = Operator("add", lambda x, rng: x + 1, local=True)
    x = np.full((4, 1, 1, 1), 10, np.uint8)
    made = mutate((double, add), np.array([1, 0, 0, 1]), x, np.random.default_rng(0))
    assert made.ravel().tolist() == [11, 20, 20, 11]
