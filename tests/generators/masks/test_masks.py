"""Masks, on images whose masks are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from temper.core.augmenter import Mask
from temper.core.classifier import Classifier
from temper.core.component import Part
from temper.core.errors import StageError
from temper.generators.masks.annotation import Annotation, MaskFiles
from temper.generators.masks.box import Box, Centre
from temper.generators.masks.otsu import Otsu
from temper.generators.masks.saliency import Saliency
from temper.system import backend
from tests.generators.augmenter_contexts import context, seeds

RING = np.zeros((8, 8))
RING[2:6, 3:6] = 0.9
RING[3:5, 4] = 0.1
FULL = np.zeros((8, 8), bool)
FULL[2:6, 3:6] = True


def one(mask: Mask, image: NDArray[Any], **of: Any) -> NDArray[np.bool_]:
    (found,) = mask.masks(seeds(image[None], **of), context())
    return found


def grown(mask: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """The definition: a pixel is set if one at most ``by`` away is."""
    height, width = mask.shape
    return np.array(
        [
            [mask[max(0, i - by) : i + by + 1, max(0, j - by) : j + by + 1].any() for j in range(width)]
            for i in range(height)
        ]
    )


@pytest.mark.parametrize("image", [RING, 1 - RING], ids=["bright", "dark"])
@pytest.mark.parametrize("dilate", [0, 1, 3])
def test_otsu_finds_the_side_inside_and_fills_its_holes(image: NDArray[Any], dilate: int) -> None:
    np.testing.assert_array_equal(one(Otsu(dilate=dilate), image), grown(FULL, dilate))


def test_otsu_keeps_the_largest_piece_diagonals_counted() -> None:
    image = np.zeros((8, 8))
    image[1, 1] = image[2, 2] = image[3, 3] = 1  # one piece of three
    image[5:7, 6] = 1  # one of two
    np.testing.assert_array_equal(one(Otsu(dilate=0), image), np.diag([0, 1, 1, 1, 0, 0, 0, 0]).astype(bool))


def test_otsu_reads_the_luma_of_colours() -> None:
    # Of the same luma, however different: nothing to tell. Blue weighs a tenth of red and green.
    image = np.zeros((8, 8, 3))
    image[FULL] = [0.2, 0, 0]
    image[~FULL] = [0, 0, 0.2]
    np.testing.assert_array_equal(one(Otsu(dilate=0), image), FULL)


@pytest.mark.parametrize("region", ["object", "box", "background"])
def test_an_image_of_one_shade_has_no_object(region: Any) -> None:
    assert not one(Otsu(region=region), np.full((8, 8), 0.5)).any()


def test_regions_are_the_object_its_box_and_the_rest() -> None:
    marks = np.zeros((1, 8, 8), bool)
    marks[0, 2, 1] = marks[0, 4, 4] = True
    box = np.zeros((8, 8), bool)
    box[2:5, 1:5] = True
    found = {
        region: one(Annotation(region=region, dilate=1), RING, masks=marks)
        for region in ("object", "box", "background")
    }
    np.testing.assert_array_equal(found["object"], grown(marks[0], 1))
    np.testing.assert_array_equal(found["box"], grown(box, 1))
    np.testing.assert_array_equal(found["background"], ~found["object"])


@pytest.mark.parametrize(("pixels", "found"), [(1, False), (2, True), (60, True), (61, False)])
@pytest.mark.parametrize("region", ["object", "box", "background"])
def test_too_small_and_too_large_objects_are_ignored(pixels: int, found: bool, region: Any) -> None:
    marks = (np.arange(64) < pixels).reshape(1, 8, 8)
    mask = Annotation(region=region, dilate=0, min_area=2 / 64, max_area=60 / 64)
    assert one(mask, RING, masks=marks).any() == found


def linear(weights: NDArray[Any]) -> Classifier:
    keras = backend.keras()
    model = keras.Sequential(
        [keras.Input(weights.shape[:3]), keras.layers.Flatten(), keras.layers.Dense(weights.shape[3])]
    )
    model.layers[-1].set_weights([weights.reshape(-1, weights.shape[3]), np.zeros(weights.shape[3])])
    return Classifier(model)


def test_saliency_of_a_linear_model_is_weights_times_pixels() -> None:
    rng = np.random.default_rng(3)
    weights, image = rng.normal(size=(8, 8, 1, 2)), rng.uniform(size=(8, 8))
    logits = (weights * image[..., None, None]).sum(axis=(0, 1, 2))
    looked_at = np.abs(weights[..., 0, logits.argmax()] * image)
    strongest = np.zeros((8, 8), bool)
    strongest[np.unravel_index(looked_at.argmax(), (8, 8))] = True
    mask = Saliency(percentile=98.5, smoothing=0, dilate=0, min_area=0)  # one of 64 pixels
    (found,) = mask.masks(seeds(image[None]), context(model=linear(weights)))
    np.testing.assert_array_equal(found, strongest)


def test_saliency_finds_the_object_that_the_model_knows_and_not_the_other() -> None:
    image = np.zeros((16, 16))
    image[2:6, 2:6] = image[10:15, 10:15] = 1
    weights = np.zeros((16, 16, 1, 2))
    weights[2:6, 2:6, 0, 0] = 1
    (found,) = Saliency(percentile=90, smoothing=0.5, dilate=0).masks(
        seeds(image[None]), context(model=linear(weights))
    )
    assert found[2:6, 2:6].all()
    assert not found[8:, 8:].any()


def test_a_model_without_gradient_has_no_salient_object() -> None:
    weights = np.zeros((8, 8, 1, 2))
    for region in ("object", "box", "background"):
        assert not Saliency(region=region).masks(seeds(RING[None]), context(model=linear(weights))).any()


def test_boxes_are_rectangles_of_the_requested_areas() -> None:
    masks = Box(min_area=0.2, max_area=0.3, max_aspect=2).masks(seeds(np.zeros((400, 50, 40))), context())
    share = masks.mean(axis=(1, 2))
    height, width = masks.any(axis=2).sum(axis=1), masks.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(masks.sum(axis=(1, 2)), height * width)
    # Sides are whole: of 10 pixels and more, the area is met to a tenth.
    assert 0.18 < share.min() < 0.21
    assert 0.29 < share.max() < 0.33
    assert abs(share.mean() - 0.25) < 4 * 0.1 / np.sqrt(12 * 400)
    assert 1.8 < (height / width).max() < 2.2
    # Every place that has room is as likely: the box's middle is on average that of the image.
    rows, columns = np.arange(50), np.arange(40)
    for axis, places in ((2, rows), (1, columns)):
        lines = masks.any(axis=axis)
        middle = (lines * places).sum(axis=1) / lines.sum(axis=1)
        assert abs(middle.mean() - places.mean()) < 1.5


def test_a_box_depends_on_its_own_seed_alone() -> None:
    x = np.zeros((6, 20, 20))
    all_at_once = Box().masks(seeds(x), context())
    for row in range(6):
        np.testing.assert_array_equal(Box().masks(seeds(x).take(np.array([row])), context())[0], all_at_once[row])
    assert len(np.unique(all_at_once, axis=0)) > 1
    others = [Box().masks(seeds(x, **{name: np.ones(6)}), context()) for name in ("variant", "depth")]
    others.append(Box().masks(seeds(x, entropy=2), context()))
    assert all(not np.array_equal(other, all_at_once) for other in others)


def test_areas_in_the_wrong_order_are_reported() -> None:
    ((field, message),) = Box(min_area=0.5).check()
    assert field == "min_area"
    assert "swap" in message


@pytest.mark.parametrize(("size", "rows", "columns"), [((8, 8), (2, 6), (2, 6)), ((12, 6), (3, 9), (1, 4))])
def test_the_centre_is_a_quarter(size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> None:
    expected = np.zeros(size, bool)
    expected[slice(*rows), slice(*columns)] = True
    np.testing.assert_array_equal(one(Centre(), np.zeros(size)), expected)


def test_annotations_are_the_masks_of_the_data_set() -> None:
    np.testing.assert_array_equal(one(Annotation(dilate=0), RING, masks=FULL[None]), FULL)
    with pytest.raises(StageError, match="has no object masks; use"):
        one(Annotation(), RING)


def write(folder: Path, index: int, mask: NDArray[Any], mode: str = "L") -> None:
    folder.mkdir(exist_ok=True)
    Image.fromarray((mask * 255).astype(np.uint8)).convert(mode).save(folder / f"{index}.png")


@pytest.mark.parametrize("mode", ["L", "1", "RGB"])
def test_files_are_named_by_index_and_scaled(tmp_path: Path, mode: str) -> None:
    write(tmp_path / "marks", 41, FULL.repeat(3, axis=0).repeat(3, axis=1), mode)
    mask = MaskFiles(test=str(tmp_path / "marks"), dilate=0)
    assert not list(mask.check())
    known, unknown = mask.masks(seeds(np.zeros((2, 8, 8)), index=[41, 14]), context())
    np.testing.assert_array_equal(known, FULL)
    assert not unknown.any()


@pytest.mark.parametrize(
    ("part", "shown"), [("train", "train"), ("validation", "other"), ("test", "other"), (None, "train")]
)
def test_each_part_has_its_folder(tmp_path: Path, part: Part | None, shown: str) -> None:
    write(tmp_path / "train", 0, FULL)
    write(tmp_path / "other", 0, FULL[::-1])
    mask = MaskFiles(
        train=str(tmp_path / "train"), validation=str(tmp_path / "other"), test=str(tmp_path / "other"), dilate=0
    )
    (found,) = mask.masks(seeds(RING[None]), context(part=part))
    np.testing.assert_array_equal(found, FULL if shown == "train" else FULL[::-1])


def test_problems_of_files_are_reported(tmp_path: Path) -> None:
    ((_, message),) = MaskFiles().check()
    assert "at least one of train, validation, test" in message
    ((field, message),) = MaskFiles(test=str(tmp_path)).check()
    assert field == "test"
    assert "17.png" in message
    write(tmp_path / "grey", 0, FULL * 0.5)
    of = seeds(RING[None])
    with pytest.raises(StageError, match="black and white pixels only, received grey 127"):
        MaskFiles(test=str(tmp_path / "grey")).masks(of, context())
    with pytest.raises(StageError, match="no folder for the validation part; set one in `validation`"):
        MaskFiles(test=str(tmp_path / "grey")).masks(of, context(part="validation"))
    (tmp_path / "grey" / "0.png").write_text("no image")
    with pytest.raises(StageError, match="corrupted"):
        MaskFiles(test=str(tmp_path / "grey")).masks(of, context())


@pytest.mark.parametrize("mask", [Otsu(), Box(), Centre()], ids=lambda mask: mask.tag)
def test_zero_seeds_have_zero_masks(mask: Mask) -> None:
    assert mask.masks(seeds(np.zeros((0, 8, 8))), context()).shape == (0, 8, 8)
