"""Programs and gradients: values, padding, live weights, sharing by architecture, and batches split across threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.classifier import _logits
from temper.nn.inspection import compiled_programs
from temper.system import backend, threads
from tests.generators.models import images, linear, small


def softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    "n", [0, 1, 17, compiled_programs.BATCH, compiled_programs.BATCH + 1, 2 * compiled_programs.BATCH + 63]
)
def test_forward_gives_the_logits_of_every_image(n: int) -> None:
    victim, weights = linear()
    x, _ = images(n, (4, 4, 1))
    logits = victim.logits(x)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, x.reshape(n, 16) @ weights, atol=1e-5)


def test_the_gradient_of_the_margin_does_not_vanish_for_confident_predictions() -> None:
    victim, _ = linear(scale=1000.0)
    x, _ = images(20, (4, 4, 1), classes=3)
    y = victim.predict(x)
    assert (victim.loss_gradient(x, y) == 0).all()
    assert (victim.loss_gradient(x, y, "margin") != 0).all()


def test_loss_gradient_is_that_of_cross_entropy() -> None:
    victim, weights = linear()
    x, y = images(40, (4, 4, 1), classes=3)
    expected = (softmax(x.reshape(40, 16) @ weights) - np.eye(3)[y]) @ weights.T
    np.testing.assert_allclose(victim.loss_gradient(x, y).reshape(40, 16), expected, atol=1e-5)


def test_gradient_of_a_saturated_softmax_keeps_its_direction() -> None:
    """In float32 a softmax of logits this far apart is 1 and 0, where the textbook gradient is zero."""
    victim, weights = linear(scale=5)
    x, _ = images(200, (4, 4, 1))
    logits = (x.reshape(200, 16) @ weights).astype(np.float64)
    y = logits.argmax(axis=1)
    sure = softmax(logits.astype(np.float32)).max(axis=1) == 1
    assert sure.sum() > 20
    others = np.where(np.eye(3)[y] > 0, -np.inf, logits)
    shares = softmax(others) - np.eye(3)[y]
    direction = shares @ weights.T.astype(np.float64)
    got = victim.loss_gradient(x, y).reshape(200, 16)
    clear = np.abs(direction) > 1e-3
    assert (np.sign(got)[sure] == np.sign(direction)[sure])[clear[sure]].all()


@pytest.mark.parametrize("convolution", [False, True])
def test_weights_are_read_at_each_call(convolution: bool) -> None:
    victim = small(convolution=convolution)
    x, y = images(9)
    before, slope = victim.logits(x), victim.loss_gradient(x, y)
    victim.model.set_weights([-0.5 * weights for weights in victim.model.get_weights()])
    np.testing.assert_allclose(victim.logits(x), np.array(victim.model(x)), atol=1e-5)
    assert np.abs(victim.logits(x) - before).max() > 0.1
    assert np.abs(victim.loss_gradient(x, y) - slope).max() > 1e-3


@pytest.mark.skipif(backend.name() == "torch", reason="torch compiles no programs")
@pytest.mark.parametrize("convolution", [False, True])
def test_models_of_one_architecture_share_a_program(convolution: bool) -> None:
    first, second = small(1, convolution), small(2, convolution)
    x, _ = images(9)
    logits = first.logits(x)
    compiled = compiled_programs._program.cache_info().misses
    np.testing.assert_allclose(second.logits(x), np.array(second.model(x)), atol=1e-5)
    assert compiled_programs._program.cache_info().misses == compiled
    assert np.abs(second.logits(x) - logits).max() > 0.1


def branched(first: str, second: str, activation: str = "relu", policy: str = "float32", swap: bool = False) -> Any:
    layers = backend.keras().layers
    x = backend.keras().Input((4, 4, 1))
    h = layers.Flatten()(x)
    a = layers.Dense(3, activation, name=first, dtype=policy)(h)
    b = layers.Dense(3, "tanh", name=second, dtype=policy)(h)
    return backend.keras().Model(x, layers.Subtract()([b, a] if swap else [a, b]))


def test_an_architecture_is_identified_by_its_layers_not_their_names() -> None:
    digest = compiled_programs._describe(branched("a", "b"))
    assert digest == compiled_programs._describe(branched("left", "right"))
    assert digest == compiled_programs._describe(branched("relu", "float32"))
    others = [
        branched("a", "b", activation="tanh"),
        branched("tanh", "b", activation="tanh"),
        branched("a", "b", policy="mixed_float16"),
        branched("a", "b", swap=True),
    ]
    assert digest not in map(compiled_programs._describe, others)


def test_a_model_without_a_configuration_shares_no_program() -> None:
    class Odd(backend.keras().layers.Layer):  # type: ignore[misc]
        def __init__(self, table: Any) -> None:
            super().__init__()
            self.table = (table,)

        def call(self, x: Any) -> Any:
            return x

    keras = backend.keras()
    first, second = (keras.Sequential([keras.Input((4,)), Odd(object())]) for _ in range(2))
    assert compiled_programs._describe(first) != compiled_programs._describe(second)


@pytest.mark.parametrize("n", [1, 249, 250, 251, 400, 500])
def test_a_batch_split_across_threads_returns_every_image(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four threads: each image keeps its place."""
    monkeypatch.setattr(threads, "count", lambda: 4)
    victim, weights = linear()
    x, _ = images(n, (4, 4, 1))
    (logits,) = compiled_programs.run(victim.model, _logits, [x], passes=100)
    np.testing.assert_allclose(logits, x.reshape(n, 16) @ weights, atol=1e-5)


def test_padded_sizes_are_few_and_large_enough() -> None:
    sizes = [compiled_programs._padded_size(n, 500) for n in range(501)]
    assert all(size >= n for n, size in enumerate(sizes))
    assert sorted(set(sizes)) == [16, 32, 63, 125, 250, 500]


def test_run_rejects_more_images_than_the_batch() -> None:
    with pytest.raises(ValueError, match="expected at most 4 images, received 5"):
        compiled_programs.run(small().model, _logits, [images(5)[0]], batch_size=4)
