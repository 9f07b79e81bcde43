"""Pixels that OpenCV itself computed (4.10.0 and 5.0.0 agree), and what follows from its rules."""

import cv2
import numpy as np
import pytest

from temper.nn.images.opencv_resize import grey, resize, to_bytes
from temper.nn.images.preprocessing import LUMA, Preprocessing

IMAGE = np.array(
    [[255, 228, 34, 121], [243, 189, 6, 131], [102, 168, 82, 193], [187, 150, 81, 243], [205, 24, 236, 8]], np.uint8
)[None, ..., None]
SMALLER = [[245, 120, 107], [113, 125, 175], [177, 125, 103]]
LARGER = [
    [255, 241, 196, 66, 77, 121],
    [246, 222, 168, 44, 71, 129],
    [161, 169, 156, 71, 109, 167],
    [137, 149, 147, 95, 147, 214],
    [192, 155, 119, 119, 152, 184],
    [205, 114, 59, 201, 122, 8],
]


@pytest.mark.parametrize("expected", [SMALLER, LARGER])
def test_resizing_gives_opencvs_pixels(expected):
    np.testing.assert_array_equal(resize(IMAGE, len(expected))[0, ..., 0], expected)


def test_channels_and_images_are_resized_each():
    x = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 2), np.uint8)
    scaled = resize(x, 3)
    for i, channel in np.ndindex(3, 2):
        np.testing.assert_array_equal(scaled[i, ..., channel], resize(x[i : i + 1, ..., channel, None], 3)[0, ..., 0])


def test_the_same_size_changes_nothing():
    np.testing.assert_array_equal(resize(IMAGE[:, :4], 4), IMAGE[:, :4])


def test_images_that_shrink_are_not_smoothed():
    spike = np.zeros((1, 9, 9, 1), np.uint8)
    spike[0, 2, 2] = 255  # between the centres 1, 4 and 7 of the nine pixels that make one
    assert resize(spike, 3).max() == 0
    assert Preprocessing(size=3).apply(spike).max() > 0
    assert Preprocessing(size=3, opencv=True).apply(spike).max() == 0


def test_grey_is_luma_to_the_nearest_byte():
    x = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8)
    for bgr, weights in ((False, LUMA), (True, LUMA[::-1])):
        assert np.abs(grey(x, bgr=bgr)[..., 0] - x.astype(np.float64) @ weights).max() < 0.51


def test_pure_colours_are_opencvs_bytes():
    pure = np.diag(np.full(3, 255, np.uint8)).reshape(3, 1, 1, 3)
    assert grey(pure).ravel().tolist() == [76, 150, 29]
    assert grey(pure, bgr=True).ravel().tolist() == [29, 150, 76]


def test_floats_become_the_nearest_bytes():
    assert to_bytes(np.float32([0, 0.0019, 0.002, 1])).tolist() == [0, 0, 1, 255]


def test_bytes_and_equal_floats_give_the_same_result():
    x = np.random.default_rng(0).integers(0, 256, (4, 7, 7, 3), np.uint8)
    steps = Preprocessing(grey="luma_bgr", size=5, opencv=True)
    made = steps.apply(x)
    np.testing.assert_array_equal(made, steps.apply(x.astype(np.float32) / np.float32(255)))
    np.testing.assert_array_equal(made, resize(grey(x, bgr=True), 5) / np.float32(255))


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (5, 4, 1), (7, 16, 3), (33, 20, 3)], ids=str)
@pytest.mark.parametrize("size", [1, 3, 8, 17, 28, 40, 64])
def test_resizing_is_opencvs(shape, size):
    x = np.random.default_rng(size).integers(0, 256, (5, *shape)).astype(np.uint8)
    theirs = [cv2.resize(image, (size, size)).reshape(size, size, -1) for image in x]
    np.testing.assert_array_equal(resize(x, size), theirs)


def test_grey_is_opencvs():
    levels = np.array([0, 1, 2, 100, 127, 128, 200, 254, 255], np.uint8)
    x = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, 27, 27, 3)
    x = np.concatenate([x, np.random.default_rng(0).integers(0, 256, (20, 27, 27, 3)).astype(np.uint8)])
    for bgr, code in ((False, cv2.COLOR_RGB2GRAY), (True, cv2.COLOR_BGR2GRAY)):
        theirs = [cv2.cvtColor(image, code)[..., None] for image in x]
        np.testing.assert_array_equal(grey(x, bgr=bgr), theirs)
