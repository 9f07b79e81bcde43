"""The diagonal of the Fisher information, against what is known of logistic models, on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.nn.training.fisher_information import diagonal_fisher
from temper.system import backend

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 2, 2, 1)).astype(np.float32)
KERNEL, BIAS = RNG.normal(size=(4, 3)).astype(np.float32), RNG.normal(size=3).astype(np.float32)
EVERYONE = np.ones((len(X), 3), bool)


def logistic() -> Any:
    keras = backend.keras()
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.set_weights([KERNEL, BIAS])
    return model


def shares(rivals: np.ndarray) -> Any:
    powers = np.where(rivals, np.exp(X.reshape(-1, 4) @ KERNEL + BIAS), 0)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("rivals", [EVERYONE, EVERYONE & np.array([True, True, False])])
def test_it_equals_the_closed_form_of_a_logistic_model(rivals: np.ndarray) -> None:
    """Of softmax regression, F of the weight from input i to class k is the mean of p_k (1 - p_k) x_i^2."""
    p = shares(rivals)
    variance = p * (1 - p)
    kernel, bias = diagonal_fisher(logistic(), X, rivals)
    np.testing.assert_allclose(kernel, (X.reshape(-1, 4) ** 2).T @ variance / len(X), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(bias, variance.mean(axis=0), rtol=1e-4, atol=1e-7)


def test_one_sampled_label_per_image_has_the_same_mean() -> None:
    rng = np.random.default_rng(1)
    drawn = np.mean([diagonal_fisher(logistic(), X, EVERYONE, rng)[0] for _ in range(60)], axis=0)
    exact = diagonal_fisher(logistic(), X, EVERYONE)[0]
    np.testing.assert_allclose(drawn, exact, rtol=0.15)
    assert not np.allclose(drawn, exact, rtol=1e-4)


def test_frozen_weights_have_none_and_unused_weights_have_zero() -> None:
    keras = backend.keras()
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((4, 4, 1)), layers.Conv2D(2, 2, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.5),
        layers.Flatten(), layers.Dense(3),
    ])  # fmt: skip
    x = RNG.normal(size=(5, 4, 4, 1)).astype(np.float32)
    found = diagonal_fisher(model, x, np.ones((5, 3), bool) & np.array([True, True, False]))
    assert [part.shape for part in found] == [tuple(v.shape) for v in model.trainable_variables]
    head = found[-2]
    assert (head[:, 2] == 0).all()
    assert (head[:, :2] > 0).any()
    model.layers[0].trainable = False
    again = diagonal_fisher(model, x, np.ones((5, 3), bool) & np.array([True, True, False]))
    assert len(again) == len(found) - 2
    np.testing.assert_allclose(again[-2], head, rtol=1e-5)
