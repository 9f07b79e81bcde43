from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.generators.augmenters.erasing import RandomErasing
from tests.generators.augmenter_contexts import context, seeds


def images(n: int, channels: int = 3) -> Any:
    return np.random.default_rng(0).uniform(0.2, 0.8, (n, 32, 32, channels)).astype(np.float32)


@pytest.mark.parametrize("fill", ["normal_clipped", "uniform", "mean", "zero"])
def test_one_rectangle_is_erased_and_the_rest_is_unchanged(fill: Any) -> None:
    of = seeds(images(50), y=np.arange(50))
    made = RandomErasing(fill=fill).augment(of, context())
    assert made.masks is not None
    assert not made.refused
    np.testing.assert_array_equal(made.y, of.y)
    np.testing.assert_array_equal(made.x[~made.masks], of.x[~made.masks])
    height, width = made.masks.any(axis=2).sum(axis=1), made.masks.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(made.masks.sum(axis=(1, 2)), height * width)
    erased = made.x[made.masks]
    match fill:
        case "zero":
            assert (erased == 0).all()
        case "mean":
            for image, old, mask in zip(made.x, of.x, made.masks, strict=True):
                np.testing.assert_allclose(
                    image[mask], np.broadcast_to(old.mean(axis=(0, 1)), image[mask].shape), rtol=1e-5
                )
        case "uniform":
            assert abs(erased.mean() - 0.5) < 0.02
            assert abs(erased.std() - np.sqrt(1 / 12)) < 0.02
        case "normal_clipped":  # the normal distribution says 50 % below 0 and 15.9 % over 1
            assert abs((erased == 0).mean() - 0.5) < 0.02
            assert abs((erased == 1).mean() - 0.1587) < 0.02


def test_areas_and_aspect_ratios_are_uniform_over_the_requested_ranges() -> None:
    made = RandomErasing().augment(seeds(images(600, 1)), context())
    assert made.masks is not None
    share = made.masks.mean(axis=(1, 2))
    # Of those that fit into the image: nearly all.
    assert abs(share.mean() - (0.02 + 1 / 3) / 2) < 0.02
    assert share.min() < 0.04
    assert 0.3 < share.max() < 0.36
    aspect = np.log(made.masks.any(axis=2).sum(axis=1) / made.masks.any(axis=1).sum(axis=1))
    assert abs(aspect.mean()) < 0.1
    assert abs(np.abs(aspect).mean() - np.log(3.3) / 2) < 0.1


def test_an_image_no_rectangle_fits_into_is_refused() -> None:
    of = seeds(np.full((3, 4, 400), 0.5))
    made = RandomErasing(min_area=0.5, max_area=0.5, max_aspect=1).augment(of, context())
    assert sorted(made.refused) == [0, 1, 2]
    assert "ten attempts" in made.refused[0]
    np.testing.assert_array_equal(made.x, of.x)


def test_it_depends_on_its_own_seed_alone() -> None:
    of = seeds(images(6))
    whole = RandomErasing().augment(of, context()).x
    for row in range(6):
        np.testing.assert_array_equal(RandomErasing().augment(of.take(np.array([row])), context()).x[0], whole[row])


def test_areas_in_the_wrong_order_are_reported() -> None:
    ((field, _),) = RandomErasing(min_area=0.5).check()
    assert field == "min_area"
