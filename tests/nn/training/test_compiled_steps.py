"""Trainings of one architecture share a compiled step and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from temper.core.errors import StageError
from temper.nn.training import compiled_steps
from temper.nn.training.training import TrainingSettings, fit, fit_pairs
from temper.system import backend
from tests.nn.training.test_training import ADVERSARIAL, X, Y, network

ALIKE = TrainingSettings(epochs=2, batch_size=16, learning_rate=0.01)


@pytest.fixture(autouse=True)
def _none_kept() -> None:
    compiled_steps._kept.cache_clear()


def made() -> int:
    """The number of cached trainers; 0 on other backends than TensorFlow."""
    return compiled_steps._kept.cache_info().misses


KEPT = backend.name() == "tensorflow"


def flat(model: Any) -> np.ndarray:
    return np.concatenate([np.ravel(backend.keras().ops.convert_to_numpy(v)) for v in model.variables])


def trained(seed: int = 3, **changes: Any) -> np.ndarray:
    model = network()
    fit(model, X, Y, replace(ALIKE, **changes), seed=seed)
    return flat(model)


def test_a_cached_trainer_equals_a_new_one() -> None:
    """Dropout's random state, the optimiser's moments and its step count are reset for each model."""
    first = trained(optimizer="rmsprop")
    trained(optimizer="rmsprop", seed=4)
    again = trained(optimizer="rmsprop")
    assert made() == 1 * KEPT
    np.testing.assert_array_equal(first, again)


def test_models_that_differ_in_weights_only_share_a_trainer() -> None:
    one, two = network(), network()
    two.set_weights([weights * 2 for weights in two.get_weights()])
    for model in (one, two):
        fit(model, X, Y, ALIKE, seed=3)
    assert made() == 1 * KEPT
    compiled_steps._kept.cache_clear()
    alone = network()
    alone.set_weights([weights * 2 for weights in alone.get_weights()])
    fit(alone, X, Y, ALIKE, seed=3)
    np.testing.assert_array_equal(flat(alone), flat(two))
    assert not np.array_equal(flat(one), flat(two))


@pytest.mark.parametrize("changes", [{"optimizer": "sgd"}, {"learning_rate": 0.02}])
def test_other_training_settings_have_their_own_trainer(changes: dict[str, Any]) -> None:
    trained()
    expected = trained(**changes)
    assert made() == 2 * KEPT
    compiled_steps._kept.cache_clear()
    np.testing.assert_array_equal(trained(**changes), expected)


def test_pairs_and_single_images_do_not_share_a_trainer() -> None:
    plain, paired = network(), network()
    fit(plain, X, Y, ALIKE, seed=3)
    fit_pairs(paired, X, ADVERSARIAL, Y, ALIKE, ratio=0.5, seed=3)
    assert made() == 2 * KEPT
    assert not np.array_equal(flat(plain), flat(paired))


def test_sets_of_all_sizes_share_a_trainer() -> None:
    x, y = np.tile(X, (20, 1, 1, 1)), np.tile(Y, 20)
    for n in range(100, 1001, 300):
        fit(network(), x[:n], y[:n], ALIKE, seed=3)
    assert made() == 1 * KEPT


def test_failed_training_leaves_nothing_in_the_trainer() -> None:
    expected = trained()
    with pytest.raises(StageError, match="diverged"):
        trained(learning_rate=1e38, epochs=5)
    np.testing.assert_array_equal(trained(), expected)
    assert made() == 2 * KEPT
