"""What the tests of regression fuzzers share: two small versions of a model, images, and a run without an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from core import backend
from core.artefacts import Examples
from core.checkpoint import Checkpoint
from core.classifier import Classifier
from core.component import Ref
from core.regression_faults import RegressionFaults
from core.run import Run
from generators.regression.fuzzer import RegressionFuzzer

SIDE, CLASSES = 8, 4
MODEL: Any = Ref("v2")
REFERENCE: Any = Ref("v1")
DATA: Any = Ref("data", part="test")
TOGETHER = {"model": MODEL, "reference": REFERENCE, "data": DATA}


def linear(weights: Any) -> Classifier:
    keras = backend.keras()
    inputs = keras.Input((SIDE, SIDE, 1))
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, use_bias=False)(keras.layers.Flatten()(inputs)))
    model.layers[-1].set_weights([np.asarray(weights, np.float32)])
    return Classifier(model)


def versions(change: float = 0.35) -> tuple[Classifier, Classifier]:
    """Return two linear classifiers of slightly different weights."""
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((SIDE * SIDE, CLASSES))
    return linear(weights), linear(weights + change * rng.standard_normal(weights.shape))


def images(n: int = 60) -> Examples:
    """Return smooth images, labelled by the first version, numbered from 100."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(4).standard_normal((n, SIDE, SIDE))
    smooth = gaussian_filter(noise, (0, 1, 1))
    x = np.clip(0.5 + smooth, 0, 1).astype(np.float32)[..., None]
    x = np.rint(x * 255).astype(np.float32) / np.float32(255)
    return Examples(x=x, y=versions()[0].predict(x), index=np.arange(n) + 100)


def fuzz(
    fuzzer: RegressionFuzzer, seed: int = 1, folder: Path | None = None, interval: float = 0.0, progress: Any = None
) -> RegressionFaults:
    """Run a fuzzer on the toys; with a folder its state is kept there."""
    old, new = versions()
    inputs = {"v1": old, "v2": new, "data": images()}
    report = progress or (lambda done, total, unit: None)
    checkpoint = Checkpoint(folder, interval)
    run = Run("fuzz", seed, "test", lambda ref: inputs[ref.stage], lambda ref: {}, report, checkpoint=checkpoint)
    return fuzzer.produce(run)
