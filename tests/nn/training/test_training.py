from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from temper.core.classifier import Classifier
from temper.core.errors import StageError
from temper.nn.training.training import Attacker, TrainingSettings, fit, fit_on_the_fly, fit_pairs
from temper.system import backend

RNG = np.random.default_rng(0)
X = RNG.random((50, 3, 3, 1), np.float32)
ADVERSARIAL = RNG.random((50, 3, 3, 1), np.float32)
Y = RNG.integers(0, 4, 50)
RATE = 0.01


def linear() -> Any:
    keras = backend.keras()
    dense = keras.layers.Dense(4, kernel_initializer="zeros")
    return keras.Sequential([keras.Input((3, 3, 1)), keras.layers.Flatten(), dense])


def network() -> Any:
    keras = backend.keras()
    backend.seed(7)
    layers = keras.layers
    body = [layers.Conv2D(4, 2, activation="relu"), layers.Flatten(), layers.Dropout(0.2), layers.Dense(4)]
    return keras.Sequential([keras.Input((3, 3, 1)), *body])


def gradient(x: np.ndarray) -> Any:
    """Of the mean cross-entropy of a zero linear model with four classes, with respect to its kernel."""
    error = np.full((len(Y), 4), 0.25)
    error[np.arange(len(Y)), Y] -= 1
    return x.reshape(len(x), -1).T @ error / len(x)


def test_the_first_epoch_of_a_zero_model_costs_log_of_the_classes_and_moves_against_the_gradient() -> None:
    model = linear()
    history = fit(model, X, Y, settings=TrainingSettings(epochs=1, batch_size=50, learning_rate=RATE), seed=0)

    assert history == pytest.approx([np.log(4)])
    # The first step of Adam has length learning_rate in every coordinate.
    np.testing.assert_allclose(model.get_weights()[0], -RATE * np.sign(gradient(X)), rtol=0.05)


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.9])
def test_pairs_descend_the_mixture_of_both_gradients(ratio: float) -> None:
    model = linear()
    history = fit_pairs(
        model,
        X,
        ADVERSARIAL,
        Y,
        ratio=ratio,
        settings=TrainingSettings(epochs=1, batch_size=50, learning_rate=RATE),
        seed=0,
    )
    mixed = ratio * gradient(X) + (1 - ratio) * gradient(ADVERSARIAL)

    assert history == pytest.approx([np.log(4)])
    np.testing.assert_allclose(model.get_weights()[0], -RATE * np.sign(mixed), rtol=0.05)
    assert any((np.sign(mixed) != np.sign(gradient(images))).any() for images in (X, ADVERSARIAL))


@pytest.mark.parametrize(("ratio", "images"), [(1.0, X), (0.0, ADVERSARIAL)])
def test_pairs_with_one_weight_of_zero_equal_plain_training_on_the_other(ratio: float, images: Any) -> None:
    settings = TrainingSettings(epochs=3, batch_size=16, learning_rate=RATE, shuffle=False)
    paired, plain = linear(), linear()
    fit_pairs(paired, X, ADVERSARIAL, Y, settings=settings, ratio=ratio, seed=3)
    fit(plain, images, Y, settings, seed=3)

    for a, b in zip(paired.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    weights = []
    for seed in (1, 1, 2):
        model = network()
        fit(model, X, Y, settings=TrainingSettings(epochs=2, batch_size=16, learning_rate=RATE), seed=seed)
        weights.append(np.concatenate([w.ravel() for w in model.get_weights()]))

    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_pairs_are_shuffled_together() -> None:
    """Images that equal their adversarial twins, each with its own label, are learnt only if shuffled together."""
    x = np.eye(4, 9, dtype=np.float32).reshape(4, 3, 3, 1)
    model = linear()
    fit_pairs(
        model,
        x,
        x,
        np.arange(4),
        ratio=0.5,
        settings=TrainingSettings(epochs=40, batch_size=1, learning_rate=0.1),
        seed=0,
    )
    np.testing.assert_array_equal(Classifier(model).predict(x), np.arange(4))


@pytest.mark.parametrize("optimizer", ["adam", "adadelta", "rmsprop", "sgd"])
def test_every_optimiser_lowers_the_loss(optimizer: Any) -> None:
    history = fit(
        network(),
        X,
        X.mean(axis=(1, 2, 3)).astype(np.int64),
        settings=TrainingSettings(epochs=8, batch_size=10, learning_rate=0.1, optimizer=optimizer),
        seed=0,
    )
    assert history[-1] < history[0]


def test_zero_epochs_leave_the_model_unchanged() -> None:
    model = network()
    before = model.get_weights()
    assert fit(model, X, Y, settings=TrainingSettings(epochs=0, batch_size=16, learning_rate=RATE), seed=0) == []
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_optimiser_is_left_in_the_model(tmp_path: Any) -> None:
    trained, untrained = network(), network()
    fit(trained, X, Y, settings=TrainingSettings(epochs=1, batch_size=16, learning_rate=RATE), seed=0)
    sizes = []
    for i, model in enumerate((trained, untrained)):
        model.save(path := tmp_path / f"{i}.keras")
        sizes.append(path.stat().st_size)

    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


def test_progress_is_reported_after_every_epoch() -> None:
    seen: list[tuple[int, int, str]] = []
    fit(
        linear(),
        X,
        Y,
        settings=TrainingSettings(epochs=3, batch_size=16, learning_rate=RATE),
        seed=0,
        progress=lambda *a: seen.append(a),
    )
    assert seen == [(1, 3, "epochs"), (2, 3, "epochs"), (3, 3, "epochs")]


def test_a_non_finite_loss_is_an_error() -> None:
    with pytest.raises(StageError, match=r"diverged: the loss of epoch .* lower learning_rate"):
        fit(linear(), X, Y, settings=TrainingSettings(epochs=5, batch_size=10, learning_rate=1e38), seed=0)


def test_on_the_fly_each_image_is_seen_once_per_epoch_and_a_share_is_attacked() -> None:
    x = np.tile((np.arange(50) / 50).astype(np.float32).reshape(50, 1, 1, 1), (1, 3, 3, 1))
    y = np.arange(50) % 4
    given: list[tuple[int, np.ndarray]] = []
    model = linear()
    kernels: list[np.ndarray] = []

    def perturb(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rows = np.rint(images[:, 0, 0, 0] * 50).astype(int)
        np.testing.assert_array_equal(labels, rows % 4)
        kernels.append(model.get_weights()[0])
        given.append((len(images), rows))
        return images

    fit_on_the_fly(
        model, x, y, settings=TrainingSettings(epochs=2, batch_size=16, learning_rate=RATE),
        attacker=Attacker(perturb=perturb, share=0.3, rng=np.random.default_rng(1)), rng=np.random.default_rng(0),
    )  # fmt: skip
    # ceil(0.3 * 16) of the whole batches, ceil(0.3 * 2) of the last.
    assert [n for n, _ in given] == [5, 5, 5, 1] * 2
    for epoch in (given[:4], given[4:]):
        rows = np.concatenate([r for _, r in epoch])
        assert len(set(rows)) == len(rows)
    assert all(not np.array_equal(a, b) for a, b in pairwise(kernels))


def test_on_the_fly_the_loss_of_an_epoch_is_the_mean_over_all_its_images() -> None:
    """Of a model that hardly learns: log of the classes, whatever the last batch is."""
    zeros, y = np.zeros_like(X), np.repeat([0, 1, 2, 3, 0], 10)
    attacker = Attacker(perturb=lambda x, y, rng: x, share=0.5, rng=np.random.default_rng(1))
    model = linear()
    model.set_weights([model.get_weights()[0], np.array([1, 0, 0, 0], np.float32)])
    (loss,) = fit_on_the_fly(
        model,
        zeros,
        y,
        settings=TrainingSettings(epochs=1, batch_size=16, learning_rate=1e-9),
        attacker=attacker,
        rng=np.random.default_rng(0),
    )
    total = np.log(np.e + 3)
    assert loss == pytest.approx(total - 0.4, rel=1e-5)


def test_on_the_fly_with_the_whole_set_as_one_batch_is_plain_training_on_the_perturbed_images() -> None:
    shift = np.float32(0.1)
    flown, plain = linear(), linear()
    losses = fit_on_the_fly(
        flown, X, Y, settings=TrainingSettings(epochs=4, batch_size=50, learning_rate=RATE), rng=np.random.default_rng(0),
        attacker=Attacker(perturb=lambda x, y, rng: x + shift, share=1.0, rng=np.random.default_rng(1)),
    )  # fmt: skip
    expected = fit(plain, X + shift, Y, settings=TrainingSettings(epochs=4, batch_size=50, learning_rate=RATE), seed=0)

    assert losses == pytest.approx(expected, rel=1e-5)
    for a, b in zip(flown.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
