"""Synthetic occlusion with cut-outs that can be located by their colour."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from temper.core.artefacts import Examples
from temper.core.augmenter import AugmenterContext
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.core.run import Run
from temper.generators.augmenters.cutouts import FileCutouts, ObjectCutouts, ShapeCutouts
from temper.generators.augmenters.occluders import ANY_CLASS, Cutouts, OccluderBank
from temper.generators.augmenters.occlusion import SyntheticOcclusion, _overlap
from temper.generators.masks.annotation import Annotation
from temper.generators.masks.otsu import Otsu
from tests.generators.augmenter_contexts import context, seeds

N = 40


def squares(n: int = N, classes: int = 4) -> Examples:
    """Squares of 6x6 in the middle of 16x16, each class in its own shade."""
    y = np.arange(n) % classes
    x = np.zeros((n, 16, 16, 1), np.float32)
    x[:, 5:11, 5:11] = ((y + 1) / classes)[:, None, None, None]
    return Examples(x=x, y=y, index=np.arange(n))


def at_work(augmenter: SyntheticOcclusion, train: Examples) -> AugmenterContext:
    """A context with the bank prepared."""
    ((name, preparation),) = augmenter.preparations(Ref("m"), Ref("d")).items()
    assert isinstance(preparation, OccluderBank)
    lent = context(train)
    cutouts = preparation.occluders.cutouts(preparation.bank, lent, np.random.default_rng(0))
    return context(train, prepared={name: cutouts})


def test_objects_are_cut_out_with_a_soft_border() -> None:
    cut = ObjectCutouts().cutouts(10, context(squares()), np.random.default_rng(0))
    assert len(cut.y) == 10
    for x, alpha, y in zip(cut.x, cut.alpha, cut.y, strict=True):
        np.testing.assert_allclose(x[..., 0], alpha * (y + 1) / 4)
        np.testing.assert_array_equal(alpha[6:10, 6:10], 1)
        assert (alpha == 1).sum() == 16
        assert (alpha == 0.75).sum() == 20
        assert (alpha == 0).sum() == 256 - 36


def test_a_mask_that_finds_no_object_is_an_error() -> None:
    plain = Examples(x=np.zeros((5, 8, 8, 1), np.float32), y=np.zeros(5, np.int64), index=np.arange(5))
    with pytest.raises(StageError, match="otsu found no object in 5 training images; choose"):
        ObjectCutouts().cutouts(10, context(plain), np.random.default_rng(0))


@pytest.mark.parametrize("shape", ["ellipse", "blob", "bars"])
def test_shapes_have_one_colour_and_their_form(shape: Any) -> None:
    train = Examples(x=np.zeros((1, 64, 64, 3), np.float32), y=np.zeros(1, np.int64), index=np.zeros(1, np.int64))
    cut = ShapeCutouts(shapes=(shape,)).cutouts(30, context(train), np.random.default_rng(0))
    assert (cut.y == ANY_CLASS).all()
    shown = cut.alpha > 0
    colours = [
        np.unique(x[there] / a[there][:, None], axis=0) for x, a, there in zip(cut.x, cut.alpha, shown, strict=True)
    ]
    assert all(np.ptp(colour, axis=0).max() < 1e-6 for colour in colours)
    assert len({tuple(colour[0]) for colour in colours}) == 30
    share = shown.mean(axis=(1, 2))
    expected = {"ellipse": (0.3, 0.79), "blob": (0.3, 0.7), "bars": (0.25, 0.35)}[shape]
    assert expected[0] < share.min()
    assert share.max() < expected[1]


def test_a_cutout_is_scaled_by_its_longer_side_and_keeps_its_colours() -> None:
    x, alpha = np.zeros((1, 16, 16, 3), np.float32), np.zeros((1, 16, 16), np.float32)
    x[0, 4:12, 6:10] = [0.2, 0.4, 0.6]
    alpha[0, 4:12, 6:10] = 1
    colours, shown = Cutouts(x, alpha, np.array([0])).scaled(0, 4)
    assert shown.shape == (4, 2)
    np.testing.assert_allclose(shown, 1, rtol=1e-6)
    np.testing.assert_allclose(colours, np.broadcast_to(np.float32([0.2, 0.4, 0.6]), (4, 2, 3)), rtol=1e-6)


def test_only_hidden_pixels_change_within_the_bounds() -> None:
    train, augmenter = squares(), SyntheticOcclusion(max_area=0.3, max_covered=0.5)
    of = seeds(train.x, train.y)
    made = augmenter.augment(of, at_work(augmenter, train))
    assert made.masks is not None
    assert not made.refused
    np.testing.assert_array_equal(made.y, train.y)
    np.testing.assert_array_equal(made.x[~made.masks], of.x[~made.masks])
    assert made.masks.any(axis=(1, 2)).all()
    assert made.masks.mean(axis=(1, 2)).max() <= 0.3
    covered = made.masks[:, 5:11, 5:11].mean(axis=(1, 2))
    assert covered.max() <= 0.5
    assert covered.max() > 0.3, "some are hidden in part"


def test_objects_are_occluded_by_other_classes() -> None:
    train = squares(classes=2)  # shades 0.5 and 1
    augmenter = SyntheticOcclusion(min_size=0.375, max_size=0.375, max_count=1)  # squares of 6 as they are
    made = augmenter.augment(seeds(np.zeros_like(train.x), train.y), at_work(augmenter, train))
    for y, image in zip(train.y, made.x, strict=True):
        assert image.max() == pytest.approx((2 - y) / 2)  # that of the other class
        np.testing.assert_allclose(np.unique(image), [0, 0.75 * (2 - y) / 2, (2 - y) / 2], rtol=1e-6)


def test_images_that_cannot_be_occluded_are_refused_with_the_reason() -> None:
    train, augmenter = squares(classes=1), SyntheticOcclusion()
    made = augmenter.augment(seeds(train.x, train.y), at_work(augmenter, train))
    assert set(made.refused.values()) == {"the bank has no cut-out of another class"}
    np.testing.assert_array_equal(made.x, train.x)
    small = SyntheticOcclusion(max_area=0.01, occluders=ShapeCutouts())
    made = small.augment(seeds(train.x, train.y), at_work(small, train))
    assert set(made.refused.values()) <= {"no cut-out fitted"}
    assert len(made.refused) > N / 2


def test_shapes_occlude_objects_of_any_class() -> None:
    train, augmenter = squares(classes=1), SyntheticOcclusion(occluders=ShapeCutouts())
    made = augmenter.augment(seeds(train.x, train.y), at_work(augmenter, train))
    assert not made.refused


def test_it_depends_on_its_own_seed_alone() -> None:
    train, augmenter = squares(), SyntheticOcclusion()
    work, of = at_work(augmenter, train), seeds(train.x, train.y)
    whole = augmenter.augment(of, work).x
    for row in (0, 7, 39):
        np.testing.assert_array_equal(augmenter.augment(of.take(np.array([row])), work).x[0], whole[row])
    assert len(np.unique(whole.reshape(N, -1), axis=0)) == N


@pytest.mark.parametrize(("whole", "thing"), [(16, 5), (5, 16), (1, 1)])
def test_a_cutout_is_centred_on_its_pixel_and_clipped_at_the_border(whole: int, thing: int) -> None:
    rng, middles = np.random.default_rng(0), set()
    for _ in range(200):
        (spot, _), (part, _) = _overlap((whole, 3), (thing, 1), rng)
        start = spot.start - part.start
        assert spot.stop - spot.start == part.stop - part.start > 0
        assert (spot.start, spot.stop) == (max(start, 0), min(start + thing, whole))
        middles.add(start + thing // 2)
    assert middles == set(range(whole))


def rgba(path: Path, pixels: NDArray[np.uint8]) -> None:
    Image.fromarray(pixels, "RGBA" if pixels.shape[2] == 4 else "RGB").save(path)


@pytest.mark.parametrize("channels", [1, 3])
def test_files_fill_the_image_and_keep_their_transparency(tmp_path: Path, channels: int) -> None:
    pixels = np.zeros((8, 32, 4), np.uint8)
    pixels[:, 16:] = (255, 0, 0, 255)  # the right half is red
    rgba(tmp_path / "red.png", pixels)
    train = Examples(
        x=np.zeros((1, 16, 16, channels), np.float32), y=np.zeros(1, np.int64), index=np.zeros(1, np.int64)
    )
    occluders = FileCutouts(folder=str(tmp_path))
    assert not list(occluders.check())
    cut = occluders.cutouts(5, context(train), np.random.default_rng(0))
    assert cut.x.shape == (1, 16, 16, channels)
    expected = np.zeros((16, 16))
    expected[6:10, 8:] = 1
    np.testing.assert_allclose(cut.alpha[0], expected, atol=0.3)  # the edge is smoothed
    colours, alpha = cut.scaled(0, 4)
    shade = [1, 0, 0] if channels == 3 else [0.299]
    np.testing.assert_allclose(colours[1, 2], shade, atol=1e-6)
    assert alpha[1, 2] == pytest.approx(1)


def test_problems_of_files_are_reported(tmp_path: Path) -> None:
    ((field, message),) = FileCutouts(folder=str(tmp_path)).check()
    assert field == "folder"
    assert "contains no cut-out" in message
    lent, rng = context(squares()), np.random.default_rng(0)
    rgba(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(StageError, match="alpha channel, received mode RGB"):
        FileCutouts(folder=str(tmp_path)).cutouts(1, lent, rng)
    rgba(tmp_path / "a.png", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(StageError, match="transparent everywhere"):
        FileCutouts(folder=str(tmp_path)).cutouts(1, lent, rng)
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(StageError, match="corrupted"):
        FileCutouts(folder=str(tmp_path)).cutouts(1, lent, rng)


def test_the_bank_is_a_stored_preparation_of_training_images(tmp_path: Path) -> None:
    augmenter = SyntheticOcclusion(bank=7, occluders=ObjectCutouts(mask=Annotation(dilate=0)), mask=Otsu())
    ((name, made),) = augmenter.preparations(Ref("m"), Ref("d", "train")).items()
    assert name.startswith("synthetic_occlusion")
    assert isinstance(made, OccluderBank)
    assert [str(ref) for ref in made.references()] == ["m", "d.train"]
    masks = np.zeros((N, 16, 16), bool)
    masks[:, :4, :4] = True

    class Model:
        num_classes = 4

    def load(ref: Ref[Any]) -> Any:
        return Model() if ref.stage == "m" else replace(squares(), masks=masks)

    cut = made.produce(Run("fuzz", 1, None, load, lambda _: {}, lambda *_: None))
    cut.save(tmp_path)
    kept = Cutouts.load(tmp_path)
    assert len(kept.y) == 7
    for array in ("x", "alpha", "y"):
        np.testing.assert_array_equal(getattr(kept, array), getattr(cut, array))
    np.testing.assert_array_equal(kept.alpha > 0, masks[:7])


def test_sizes_in_the_wrong_order_and_no_shapes_are_reported() -> None:
    assert [field for field, _ in SyntheticOcclusion(min_size=0.5, max_size=0.4).check()] == ["min_size"]
    assert [field for field, _ in ShapeCutouts(shapes=()).check()] == ["shapes"]
