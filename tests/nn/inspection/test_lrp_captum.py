"""Relevance of pixels against Captum's, rule by rule, on networks of several kinds of layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from temper.core.classifier import Classifier
from temper.localisation.lrp_variants import AlphaBeta, Epsilon, Zero, ZPlus
from temper.nn.inspection.lrp import pixel_relevance
from temper.nn.inspection.lrp_rules import RelevanceRule
from temper.system import backend

CLASSES = 3
RULES: dict[str, tuple[RelevanceRule, Callable[[Any], Any]]] = {
    "zero": (Zero(), lambda rules: rules.EpsilonRule(1e-12)),
    "epsilon": (Epsilon(epsilon=0.3), lambda rules: rules.EpsilonRule(0.3)),
    "z_plus": (ZPlus(), lambda rules: rules.Alpha1_Beta0_Rule(set_bias_to_zero=True)),
    "alpha_beta": (AlphaBeta(alpha=1.0, beta=0.0), lambda rules: rules.Alpha1_Beta0_Rule()),
}


def dense(layers: Any) -> tuple[tuple[int, int, int], list[Any]]:
    return (3, 3, 1), [layers.Flatten(), layers.Dense(8, "relu"), layers.Dense(5, "relu"), layers.Dense(CLASSES)]


def pooled(layers: Any) -> tuple[tuple[int, int, int], list[Any]]:
    stack = [layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(CLASSES)]
    return (6, 8, 2), stack


def averaged(layers: Any) -> tuple[tuple[int, int, int], list[Any]]:
    stack = [layers.Conv2D(3, 2, strides=2, activation="relu"), layers.Conv2D(5, 1, activation="relu")]
    return (8, 8, 3), [*stack, layers.AveragePooling2D(2), layers.Flatten(), layers.Dense(CLASSES)]


def in_torch(model: Any, rule: Callable[[], Any]) -> Any:
    """Return the same network for Captum, each layer with weights under a rule of its own; its images are (n, c, h, w)."""
    import torch
    from captum.attr._utils.lrp_rules import EpsilonRule

    modules: list[Any] = []
    for layer in model.layers:
        kind = type(layer).__name__
        if kind == "Flatten":
            # Keras flattens (h, w, c).
            height, width, channels = layer.input.shape[1:]
            order = np.arange(height * width * channels).reshape(height, width, channels).transpose(2, 0, 1).ravel()
            modules.append(torch.nn.Flatten())
            modules[-1].rule = EpsilonRule(1e-12)  # passes relevance on unchanged
        elif kind == "MaxPooling2D":
            modules.append(torch.nn.MaxPool2d(2))
        elif kind == "AveragePooling2D":
            modules.append(torch.nn.AvgPool2d(2))
            modules[-1].rule = EpsilonRule(1e-12)
        else:
            kernel, bias = layer.get_weights()
            if kind == "Dense":
                after_flattening = isinstance(modules[-1], torch.nn.Flatten)
                modules.append(torch.nn.Linear(*kernel.shape))
                kernel = (kernel[order] if after_flattening else kernel).T
            else:
                modules.append(torch.nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[:2], layer.strides))
                kernel = kernel.transpose(3, 2, 0, 1)
            modules[-1].weight.data, modules[-1].bias.data = (torch.tensor(a.copy()).double() for a in (kernel, bias))
            modules[-1].rule = rule()
            if layer.activation.__name__ == "relu":
                modules.append(torch.nn.ReLU())
    return torch.nn.Sequential(*modules).double()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("network", [dense, pooled, averaged], ids=lambda network: network.__name__)
def test_relevance_is_captums(network: Callable[[Any], Any], rule: str) -> None:
    import torch
    from captum.attr import LRP
    from captum.attr._utils import lrp_rules

    keras = backend.keras()
    backend.seed(3)
    shape, stack = network(keras.layers)
    model = keras.Sequential([keras.Input(shape), *stack])
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.5, w.shape) for w in model.get_weights()]
    # Captum's alpha-beta rule counts a negative bias among the positive contributions.
    model.set_weights([np.abs(w) if w.ndim == 1 else w for w in weights])
    x, y = rng.random((6, *shape)).astype(np.float32), np.arange(6) % CLASSES
    ours, theirs = RULES[rule]
    found = np.concatenate([part for _, part in pixel_relevance(Classifier(model), x, ours, y)])
    twin = in_torch(model, lambda: theirs(lrp_rules))
    images = torch.tensor(x.transpose(0, 3, 1, 2)).double()
    np.testing.assert_allclose(twin(images).detach().numpy(), model.predict(x, verbose=0), atol=1e-4)
    expected = LRP(twin).attribute(images, target=torch.tensor(y)).detach().numpy().transpose(0, 2, 3, 1)
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
