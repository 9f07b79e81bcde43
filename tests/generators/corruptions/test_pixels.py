"""What corruptions do to single images: closed forms, and scikit-image, SciPy and OpenCV as they are used by the published code."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from scipy import ndimage
from skimage import color, filters, transform

from temper.generators.corruptions import digital, noise_and_blur, strokes_and_maps, weather
from temper.generators.corruptions.frost import frost_texture
from temper.generators.corruptions.pixels import Pixels, motion_blurred, plasma, zoomed
from temper.generators.corruptions.severities import SETS

RNG = np.random.default_rng(1)
COLOUR: Pixels = RNG.random((17, 21, 3))
GREY: Pixels = RNG.random((17, 21, 1))
FLAT: Pixels = np.full((150, 150, 1), 0.5)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def parameters(name: Any, of: Any = "cifar10_c") -> Any:
    return SETS[of].parameters[name]


@pytest.mark.parametrize("p", [0.04, 0.1, 0.38])
def test_noise_has_its_published_spread(p: float) -> None:
    n = FLAT.size
    gauss = noise_and_blur.gaussian_noise(FLAT, (p,), 1, rng()) - FLAT
    speckle = noise_and_blur.speckle_noise(FLAT, (p,), 1, rng()) - FLAT
    assert gauss.std() == pytest.approx(p, rel=5 / np.sqrt(2 * n))
    assert speckle.std() == pytest.approx(p / 2, rel=5 / np.sqrt(2 * n))


@pytest.mark.parametrize("p", [3, 50, 500])
def test_shot_noise_is_poisson(p: float) -> None:
    shot = noise_and_blur.shot_noise(FLAT, (p,), 1, rng())
    assert shot.var() == pytest.approx(0.5 / p, rel=0.06)
    np.testing.assert_allclose(shot * p, np.round(shot * p), atol=1e-9)


def test_impulse_noise_is_as_much_salt_as_pepper() -> None:
    impulse = noise_and_blur.impulse_noise(FLAT, (0.27,), 1, rng())
    for value in (0, 1):
        assert (impulse == value).mean() == pytest.approx(0.135, abs=0.01)
    assert set(np.unique(impulse)) == {0, 0.5, 1}


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.5])
def test_gaussian_blur_is_that_of_scikit_image(sigma: float) -> None:
    found = noise_and_blur.gaussian_blur(COLOUR, (sigma,), 1, rng())
    np.testing.assert_allclose(found, filters.gaussian(COLOUR, sigma, channel_axis=-1), atol=1e-12)
    np.testing.assert_allclose(noise_and_blur.gaussian_blur(COLOUR, (sigma / 2,), 2, rng()), found)


@pytest.mark.parametrize(("radius", "edge"), [(0.3, 0.4), (1.5, 0.1), (3, 0.1), (8, 0.5), (10, 0.5)])
def test_defocus_blur_is_that_of_opencv(radius: float, edge: float) -> None:
    reach, size = (8, 3) if radius <= 8 else (int(radius), 5)
    line = np.arange(-reach, reach + 1)
    disk = ((line[:, None] ** 2 + line**2) <= radius**2).astype(np.float64)
    kernel = cv2.GaussianBlur(disk / disk.sum(), (size, size), edge)
    expected = cv2.filter2D(COLOUR, -1, kernel)
    np.testing.assert_allclose(noise_and_blur.defocus_blur(COLOUR, (radius, edge), 1, rng()), expected, atol=1e-12)


@pytest.mark.parametrize("factor", [1.0, 1.05, 1.25, 3.0])
def test_a_zoom_is_that_of_scipy(factor: float) -> None:
    kept = [int(np.ceil(side / factor)) for side in (17, 21)]
    top, left = (17 - kept[0]) // 2, (21 - kept[1]) // 2
    large = ndimage.zoom(COLOUR[top : top + kept[0], left : left + kept[1]], (factor, factor, 1), order=1)
    i, j = (large.shape[0] - 17) // 2, (large.shape[1] - 21) // 2
    np.testing.assert_allclose(zoomed(COLOUR, factor), large[i : i + 17, j : j + 21], atol=1e-12)


def test_zoom_blur_is_the_mean_of_its_zooms() -> None:
    expected = (2 * COLOUR + zoomed(COLOUR, 1.2)) / 3
    np.testing.assert_allclose(noise_and_blur.zoom_blur(COLOUR, (1.0, 1.2), 1, rng()), expected)


def test_motion_blur_spreads_a_point_along_its_direction() -> None:
    point = np.zeros((41, 41))
    point[20, 20] = 1
    weights = np.exp(-(np.arange(9) ** 2) / (2 * 2.0**2))
    across = motion_blurred(point, 6, 2.0, 0)
    np.testing.assert_allclose(across[20, 12:21], weights[::-1] / weights.sum(), atol=1e-3)
    assert across.sum() == pytest.approx(1)
    np.testing.assert_allclose(motion_blurred(point, 6, 2.0, 90), across.T, atol=1e-12)
    rows, columns = np.nonzero(motion_blurred(point, 6, 2.0, 45))
    np.testing.assert_array_equal(rows, columns)


def test_motion_blur_repeats_the_border() -> None:
    np.testing.assert_allclose(motion_blurred(np.full((8, 8, 3), 0.3), 20, 15, 30), 0.3)


@pytest.mark.parametrize(("reach", "rounds"), [(1, 1), (2, 3)])
def test_glass_takes_pixels_from_nearby(reach: int, rounds: int) -> None:
    places = np.indices((17, 21)).transpose(1, 2, 0) / 32.0
    sharp = (1e-3, reach, rounds)  # a filter this narrow changes nothing
    copied = noise_and_blur.glass_blur(places, sharp, 1, rng())
    assert np.abs(copied - places).max() * 32 <= 2 * reach * rounds + 1e-6
    assert (copied != places).any(axis=2).mean() > 0.3
    swapped = noise_and_blur.glass_blur_by_swaps(places, sharp, 1, rng())
    np.testing.assert_allclose(np.sort(swapped.ravel()), np.sort(places.ravel()), err_msg="swaps keep every pixel")
    assert (swapped != places).any()


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5])
def test_brightness_is_that_of_hsv(p: float) -> None:
    x = COLOUR.copy()
    x[0, 0], x[0, 1] = 0, 0.4  # black and grey have no hue
    hsv = color.rgb2hsv(x)
    hsv[..., 2] = np.clip(hsv[..., 2] + p, 0, 1)
    np.testing.assert_allclose(weather.brightness(x, (p,), 1, rng()), color.hsv2rgb(hsv), atol=1e-9)
    np.testing.assert_allclose(weather.brightness(GREY, (p,), 1, rng()), np.minimum(GREY + p, 1))


@pytest.mark.parametrize("p", [*parameters("saturate"), *parameters("saturate", "imagenet_c")])
def test_saturation_is_that_of_hsv(p: tuple[float, ...]) -> None:
    x = COLOUR.copy()
    x[0, 0], x[0, 1] = 0, 0.4
    hsv = color.rgb2hsv(x)
    hsv[..., 1] = np.clip(hsv[..., 1] * p[0] + p[1], 0, 1)
    np.testing.assert_allclose(digital.saturate(x, p, 1, rng()), color.hsv2rgb(hsv), atol=1e-9)


def test_contrast_keeps_the_mean_of_each_channel() -> None:
    found = digital.contrast(COLOUR, (0.3,), 1, rng())
    np.testing.assert_allclose(found.mean(axis=(0, 1)), COLOUR.mean(axis=(0, 1)))
    np.testing.assert_allclose(found.std(axis=(0, 1)), 0.3 * COLOUR.std(axis=(0, 1)))


def test_pixelate_takes_means_of_blocks() -> None:
    x = RNG.random((8, 12, 3))
    means = x.reshape(4, 2, 6, 2, 3).mean(axis=(1, 3))
    found = digital.pixelate(x, (0.5,), 1, rng())
    np.testing.assert_allclose(found, means.repeat(2, 0).repeat(2, 1), atol=1e-6)


@pytest.mark.parametrize("x", [GREY, COLOUR])
def test_jpeg_loses_more_at_lower_quality(x: Pixels) -> None:
    smooth = ndimage.gaussian_filter(x, (2, 2, 0))
    losses = [np.abs(digital.jpeg_compression(smooth, (q,), 1, rng()) - smooth).mean() for q in (95, 40, 7)]
    assert 0 < losses[0] < losses[1] < losses[2] < 0.1


@pytest.mark.parametrize("size", [(16, 16), (17, 21)])
def test_the_affine_part_of_an_elastic_transform_is_that_of_opencv(size: tuple[int, int]) -> None:
    x = RNG.random((*size, 3))
    found = digital.elastic_transform(x, (0, 0, 0.08), 1, rng(3))
    side, centre = min(size), np.array(size, np.float32) // 2
    half = side // 3
    corners = np.float32([centre + half, [centre[0] + half, centre[1] - half], centre - half])
    moved = corners + rng(3).uniform(-0.08 * side, 0.08 * side, (3, 2)).astype(np.float32)
    matrix = cv2.getAffineTransform(corners[:, ::-1].copy(), moved[:, ::-1].copy())
    expected = cv2.warpAffine(x, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    # OpenCV rounds positions to 1/32 of a pixel.
    np.testing.assert_allclose(found, expected, atol=0.07)
    assert np.abs(found - expected).mean() < 0.01 < np.abs(found - x).mean()


def test_an_elastic_transform_moves_no_pixel_of_an_even_image() -> None:
    for p in parameters("elastic_transform"):
        np.testing.assert_allclose(digital.elastic_transform(FLAT[:12, :12], p, 1, rng()), 0.5)


def _warped(x: Pixels, matrix: Any) -> Any:
    """Warp as MNIST-C does: the map from new to old positions (column, row), with the centre kept."""
    a = np.array(matrix, float)
    centre = np.array([(x.shape[1] - 1) / 2, (x.shape[0] - 1) / 2])
    full = np.eye(3)
    full[:2, :2], full[:2, 2] = a, centre - a @ centre
    return transform.warp(x, inverse_map=transform.AffineTransform(full))


@pytest.mark.parametrize("p", [0.2, 0.6, 1.0])
def test_maps_are_those_of_scikit_image(p: float) -> None:
    cos, sin = np.cos(p), np.sin(p)
    turned, sheared = ([_warped(GREY, m(s)) for s in (1, -1)] for m in (
        lambda s: [[cos, -s * sin], [s * sin, cos]],
        lambda s: [[1, -s * sin], [0, cos]],
    ))  # fmt: skip
    for function, expected in ((strokes_and_maps.rotate, turned), (strokes_and_maps.shear, sheared)):
        seen = set()
        for seed in range(8):
            found = function(GREY, (p,), 1, rng(seed))
            (side,) = [i for i, each in enumerate(expected) if np.allclose(found, each, atol=1e-9)]
            seen.add(side)
        assert seen == {0, 1}, "to both sides"
    found = strokes_and_maps.scale(GREY, (0.5,), 1, rng())
    np.testing.assert_allclose(found, _warped(GREY, 2 * np.eye(2)), atol=1e-9)


def test_translate_moves_by_whole_pixels_to_four_sides() -> None:
    moved = {
        tuple(np.argwhere(strokes_and_maps.translate(_dot(), (3,), 1, rng(seed))[..., 0] == 1)[0]) for seed in range(30)
    }
    assert moved == {(14 + i, 14 + j) for i in (-3, 3) for j in (-3, 3)}


def _dot() -> Pixels:
    dot = np.zeros((28, 28, 1))
    dot[14, 14] = 1
    return dot


def test_stripe_inverts_the_outer_quarters() -> None:
    x = RNG.random((28, 28, 1))
    found = strokes_and_maps.stripe(x, (), 1, rng())
    np.testing.assert_array_equal(found[:, 7:21], x[:, 7:21])
    np.testing.assert_array_equal(found[:, :7], 1 - x[:, :7])
    np.testing.assert_array_equal(strokes_and_maps.stripe(found, (), 1, rng())[:, 21:], 1 - (1 - x[:, 21:]))


def test_lines_brighten_and_a_dotted_one_has_gaps() -> None:
    black = np.zeros((28, 28, 1))
    dotted = strokes_and_maps.dotted_line(black, (), 1, rng(2))[..., 0]
    assert [bool(dotted[:, c].any()) for c in range(8)] == [False, False, True, True] * 2
    drawn = strokes_and_maps.zigzag(black, (), 1, rng(2))[..., 0]
    assert not drawn[:, :2].any()
    assert not drawn[:, 26:].any()
    assert all(drawn[:, c].max() > 0.5 for c in range(3, 24))
    assert np.ptp(drawn.argmax(axis=0)[2:12]) >= 2, "it goes up and down"


def test_edges_are_white_on_black() -> None:
    square = np.zeros((28, 28, 3))
    square[8:20, 8:20] = 1
    found = strokes_and_maps.canny_edges(square, (), 1, rng())
    assert set(np.unique(found)) == {0, 1}
    assert not found[12:16, 12:16].any()
    assert 30 < found[..., 0].sum() < 60, "the outline of 44 pixels, about"


@pytest.mark.parametrize("side", [2, 8, 32])
def test_a_plasma_is_a_height_map_that_decay_makes_smooth(side: int) -> None:
    smooth, rough = (
        np.mean([np.abs(np.diff(plasma(side, d, rng(i)), axis=0)).mean() for i in range(8)]) for d in (3, 1.2)
    )
    assert plasma(side, 2, rng()).shape == (side, side)
    assert (plasma(side, 2, rng()).min(), plasma(side, 2, rng()).max()) == (0, 1)
    if side > 2:
        assert smooth < rough


def test_fog_lightens_and_keeps_the_brightest_value() -> None:
    found = weather.fog(COLOUR, (1.5, 2), 1, rng())
    assert found.max() <= COLOUR.max() + 1e-12
    assert found.std() < 0.8 * COLOUR.std()
    black = np.zeros((8, 8, 1))
    np.testing.assert_array_equal(weather.fog(black, (1.5, 2), 1, rng()), black)


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_spatter_leaves_an_image_without_liquid(kind: int) -> None:
    dry = (0.1, 0.01, 1, 0.7, 0.5, kind)
    np.testing.assert_array_equal(weather.spatter(COLOUR, dry, 1, rng()), COLOUR)


def test_mud_covers_and_water_brightens() -> None:
    x = np.full((32, 32, 3), 0.5)
    mud = weather.spatter(x, (0.65, 0.3, 1, 0.65, 1.5, 1), 1, rng())
    covered = (mud != x).any(axis=2)
    assert 0.02 < covered.mean() < 0.9
    assert (mud[covered].mean(axis=0) < 0.4).all()
    water = weather.spatter(x, (0.65, 0.3, 2, 0.68, 0.5, 0), 1, rng())
    assert water.min() >= 0.5
    assert water.max() > 0.6


def test_a_histogram_is_equalised_as_opencv_does() -> None:
    for top in (1, 20, 256):
        levels = rng(top).integers(0, top, (9, 11)).astype(np.uint8)
        np.testing.assert_array_equal(weather._equalised(levels), cv2.equalizeHist(levels))


def test_the_liquid_of_spatter_does_not_depend_on_the_size() -> None:
    p = (0.65, 0.3, 1, 0.68, 0.6, 1)
    shares = [
        np.mean([(weather.spatter(np.zeros((s, s, 1)), p, s / 32, rng(i)) > 0).mean() for i in range(20)])
        for s in (32, 64, 128)
    ]
    assert min(shares) > 0.4 * max(shares) > 0


def test_snow_whitens_and_falls() -> None:
    still = (0.0, 0.0, 1, 1, 1, 1, 0.5)  # no flakes
    expected = 0.5 * COLOUR + 0.5 * np.maximum(COLOUR, 1.5 * (COLOUR @ [0.299, 0.587, 0.114])[..., None] + 0.5)
    np.testing.assert_allclose(weather.snow(COLOUR, still, 1, rng()), expected, atol=1e-6)
    flakes = weather.snow(np.zeros((32, 32, 1)), (0.3, 0.3, 2, 0.5, 6, 3, 1), 1, rng())
    np.testing.assert_allclose(flakes, np.rot90(flakes, 2), err_msg="two layers, one turned")
    assert np.abs(np.diff(flakes, axis=0)).mean() < np.abs(np.diff(flakes, axis=1)).mean(), "streaks downwards"


@pytest.mark.parametrize("size", [(8, 8), (32, 20), (100, 100)])
def test_the_texture_of_frost_has_the_colour_and_contrast_of_photographs(size: tuple[int, int]) -> None:
    texture = np.stack([frost_texture(size, rng(i)) for i in range(4)])
    assert texture.shape == (4, *size, 3)
    np.testing.assert_allclose(texture.mean(axis=(0, 1, 2)), (0.525, 0.609, 0.653), atol=0.01)
    assert texture[..., 0].std() == pytest.approx(0.113, abs=0.02)
