"""Fixtures for tests of repairs: easy images, small models and a run without an engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from temper.core.artefacts import Examples
from temper.core.checkpoint import Checkpoint
from temper.core.classifier import Classifier
from temper.core.component import Component, Ref
from temper.core.run import Run
from temper.system import backend

MODEL: Ref[Classifier] = Ref("v1")
DATA: Ref[Examples] = Ref("data", part="train")


def examples(n: int = 60, classes: int = 3, seed: int = 0) -> Examples:
    """Return images whose brightness determines their class."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = np.clip((y[:, None, None, None] + 0.5) / classes + rng.normal(0, 0.02, (n, 6, 6, 1)), 0, 1)
    return Examples(x=x.astype(np.float32), y=y.astype(np.int64), index=np.arange(n))


def small_model(seed: int = 1) -> Any:
    """Return a Keras model of two convolutions of 4 and 6 maps and a dense layer of 8."""
    keras = backend.keras()
    layers = keras.layers
    backend.seed(seed)
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1"),
            layers.Conv2D(6, 3, activation="relu", name="conv2"),
            layers.MaxPooling2D(name="pool"),
            layers.Flatten(name="flat"),
            layers.Dense(8, activation="relu", name="dense"),
            layers.Dense(3, name="logits"),
        ]
    )


def weights(classifier: Classifier) -> np.ndarray:
    return np.concatenate([w.ravel() for w in classifier.model.get_weights()])


def run(component: Component, loaded: dict[Ref[Any], Any], seed: int = 0, checkpoint: Checkpoint | None = None) -> Run:
    """Return a run with these artefacts, as the engine provides them."""
    return Run("v2", seed, None, loaded.__getitem__, lambda _: {}, lambda *_: None, checkpoint=checkpoint)
