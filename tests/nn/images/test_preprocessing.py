import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from temper.nn.images.preprocessing import LUMA, Preprocessing, resize, to_unit

LUMA_GREY = Preprocessing(grey="luma")


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


def test_bytes_are_divided_by_255():
    unit = to_unit(np.array([0, 51, 255], np.uint8))
    assert unit.dtype == np.float32
    np.testing.assert_array_equal(unit, np.float32([0, 0.2, 1]))


def test_floats_stay_as_they_are():
    x = noise(3).astype(np.float64)
    np.testing.assert_array_equal(to_unit(x), x.astype(np.float32))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.array([0.0, 255.0]), r"expected \[0, 1\], received \[0, 255\]"),
        (np.array([0.0, np.nan]), r"expected \[0, 1\], received \[nan, nan\]"),
        (np.array([-0.1]), r"received \[-0.1, -0.1\]"),
        (np.array([1, 2]), "expected uint8 or float in .* received int64"),
        (np.array([True]), "received bool"),
    ],
)
def test_other_pixel_types_are_rejected(x, said):
    with pytest.raises(ValueError, match=said):
        to_unit(x)


def test_grey_is_the_luma_of_itu_r_601():
    pure = np.eye(3, dtype=np.float32).reshape(3, 1, 1, 3)
    np.testing.assert_allclose(LUMA_GREY.apply(pure).ravel(), [0.299, 0.587, 0.114], rtol=1e-6)
    assert LUMA.sum() == pytest.approx(1)


def test_grey_agrees_with_pillow_up_to_its_rounding():
    x = (noise(1, 9, 7, 3) * 255).astype(np.uint8)
    pillow = np.asarray(Image.fromarray(x[0]).convert("L"))
    np.testing.assert_allclose(LUMA_GREY.apply(x)[0, ..., 0] * 255, pillow, atol=0.51)


def test_white_stays_white():
    white = np.full((2, 9, 9, 3), 255, np.uint8)
    assert Preprocessing(grey="luma", size=7).apply(white).max() <= 1.0
    np.testing.assert_allclose(Preprocessing(grey="luma", size=7).apply(white), 1.0, rtol=1e-6)


def test_grey_images_are_unchanged_by_grey():
    x = noise(2, 4, 4, 1)
    np.testing.assert_array_equal(LUMA_GREY.apply(x), x)


def test_grey_requires_one_or_three_channels():
    with pytest.raises(ValueError, match="expected images of 1 or 3 channels, received 4"):
        LUMA_GREY.apply(noise(1, 2, 2, 4))


@pytest.mark.parametrize(
    ("height", "width", "size"), [(28, 28, 32), (32, 32, 28), (8, 8, 3), (5, 9, 7), (64, 10, 1), (1, 1, 4)]
)
def test_resizing_agrees_with_pillow(height, width, size):
    x = noise(2, height, width, 2)
    scaled = resize(x, size)
    assert scaled.shape == (2, size, size, 2)
    for i, channel in [(0, 0), (1, 1)]:
        pillow = Image.fromarray(x[i, ..., channel]).resize((size, size), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(scaled[i, ..., channel], np.asarray(pillow), atol=2e-6)


def test_halving_a_pattern_of_single_pixels_gives_its_mean():
    stripes = np.tile(np.float32([0, 1]), (8, 4))[None, ..., None]
    np.testing.assert_allclose(resize(stripes, 4)[0, :, 1:-1, 0], 0.5, atol=1e-6)


@given(st.integers(1, 12), st.integers(1, 12))
def test_resizing_keeps_a_constant_image(source, target):
    np.testing.assert_allclose(resize(np.full((1, source, source, 1), 0.7, np.float32), target), 0.7, rtol=1e-6)


def test_rows_are_taken_in_their_order_across_chunks():
    x = (np.arange(5000) % 251).astype(np.uint8).reshape(-1, 1, 1, 1)
    rows = np.random.default_rng(0).permutation(5000)
    np.testing.assert_array_equal(Preprocessing().images(x, rows, (1, 1, 1)), to_unit(x)[rows])


def test_no_rows_give_no_images():
    assert Preprocessing(grey="luma", size=2).images(noise(3, 4, 4, 3), np.array([], np.int64), (4, 4, 3)).shape == (
        0,
        2,
        2,
        1,
    )
