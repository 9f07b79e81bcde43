from __future__ import annotations

import numpy as np

from temper.generators.augmenters.added_noise import AddedNoise
from tests.generators.augmenter_contexts import context, seeds


def test_noise_has_its_deviation_on_every_channel_and_pixels_stay_in_bounds() -> None:
    of = seeds(np.full((40, 16, 16, 3), 0.5), y=np.arange(40))
    made = AddedNoise(std=0.1).augment(of, context())
    np.testing.assert_array_equal(made.y, of.y)
    assert made.masks is None
    noise = made.x - 0.5
    assert abs(noise.mean()) < 5 * 0.1 / np.sqrt(noise.size)
    assert abs(noise.std() / 0.1 - 1) < 5 / np.sqrt(2 * noise.size)
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.06
    dark = AddedNoise(std=0.3).augment(seeds(np.zeros((4, 16, 16))), context()).x
    assert dark.min() == 0
    assert abs((dark == 0).mean() - 0.5) < 0.08


def test_noise_depends_on_the_seed_and_not_on_the_batch() -> None:
    of = seeds(np.full((6, 8, 8), 0.5))
    whole = AddedNoise().augment(of, context()).x
    for row in range(6):
        np.testing.assert_array_equal(AddedNoise().augment(of.take(np.array([row])), context()).x[0], whole[row])
    assert len(np.unique(whole.reshape(6, -1), axis=0)) == 6
    for other in ("variant", "depth"):
        again = seeds(of.x, **{other: np.ones(6)})
        assert not np.array_equal(AddedNoise().augment(again, context()).x, whole)
    assert (of.x == 0.5).all()
