"""Each epoch has a new order, and interrupted trainings reach the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.checkpoint import Checkpoint
from temper.nn.training import epochs
from temper.nn.training.training import Attacker, TrainingSettings, fit, fit_on_the_fly, fit_pairs
from temper.system import backend
from tests.conftest import stopped_again_and_again
from tests.nn.training.test_compiled_steps import flat
from tests.nn.training.test_training import ADVERSARIAL, RATE, X, Y, linear, network

Training = Callable[[Any, Checkpoint | None], list[float]]
ALIKE = TrainingSettings(epochs=3, batch_size=8, learning_rate=RATE)


def plain(model: Any, checkpoint: Checkpoint | None) -> list[float]:
    return fit(model, X, Y, replace(ALIKE, optimizer="rmsprop"), seed=3, checkpoint=checkpoint)


def pairs(model: Any, checkpoint: Checkpoint | None) -> list[float]:
    return fit_pairs(model, X, ADVERSARIAL, Y, ALIKE, ratio=0.5, seed=3, checkpoint=checkpoint)


def on_the_fly(model: Any, checkpoint: Checkpoint | None) -> list[float]:
    def noise(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return x + rng.random(x.shape, np.float32)

    attacker = Attacker(perturb=noise, share=0.5, rng=np.random.default_rng(2))
    return fit_on_the_fly(model, X, Y, ALIKE, attacker, rng=np.random.default_rng(1), checkpoint=checkpoint)


@pytest.mark.parametrize("training", [plain, pairs, on_the_fly])
def test_repeatedly_stopped_training_reaches_the_same_weights(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout, moments, the running loss and random streams all resume."""
    monkeypatch.setattr(epochs, "STEPS_AT_ONCE", 2)
    whole = network()
    expected = training(whole, None)

    def resumed() -> tuple[Any, list[float]]:
        model = network()
        return model, training(model, Checkpoint(tmp_path))

    (model, losses), stops = stopped_again_and_again(resumed)
    # Seven batches an epoch: within TensorFlow's program at 2, 4 and 6 of them, elsewhere after epochs.
    assert stops == (12 if backend.name() == "tensorflow" and training is not on_the_fly else 3)
    assert losses == pytest.approx(expected, rel=1e-6)
    np.testing.assert_array_equal(flat(model), flat(whole))


def test_each_epoch_visits_all_images_in_its_own_order() -> None:
    """Batch by batch, the last one smaller, as a plain loop over the documented orders does."""
    keras = backend.keras()
    trained, reference = linear(), linear()
    losses = fit(trained, X, Y, settings=TrainingSettings(epochs=3, batch_size=16, learning_rate=RATE), seed=5)

    reference.compile(keras.optimizers.Adam(RATE), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for epoch in range(3):
        order = np.random.default_rng([5, epoch]).permutation(len(X))
        batches = [order[start : start + 16] for start in range(0, len(X), 16)]
        loss = sum(len(rows) * float(reference.train_on_batch(X[rows], Y[rows])) for rows in batches) / len(X)
        assert losses[epoch] == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(flat(trained), flat(reference), atol=1e-6)


@pytest.mark.parametrize("training", [plain, pairs])
def test_training_does_not_depend_on_where_the_data_are_held(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, copied = network(), network()
    losses = training(held, None)
    monkeypatch.setattr(epochs, "ON_DEVICE", 0)
    assert training(copied, None) == pytest.approx(losses, rel=1e-6)
    np.testing.assert_allclose(flat(copied), flat(held), atol=1e-6)


def test_without_shuffling_every_epoch_follows_the_order_of_the_images() -> None:
    one, two = linear(), linear()
    fit(one, X, Y, settings=TrainingSettings(epochs=1, batch_size=10, learning_rate=RATE, shuffle=False), seed=1)
    fit(two, X, Y, settings=TrainingSettings(epochs=1, batch_size=10, learning_rate=RATE, shuffle=False), seed=2)
    np.testing.assert_array_equal(flat(one), flat(two))
