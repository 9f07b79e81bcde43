"""Fixtures for tests of regression fuzzers: two small model versions, images, and a run without an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.artefacts.regression_faults import RegressionFaults
from temper.core.artefacts import Examples
from temper.core.checkpoint import Checkpoint
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.run import Run
from temper.generators.regression.fault_accounting import Roots
from temper.generators.regression.model_versions import Versions
from temper.generators.regression.regression_fuzzer import RegressionFuzzer, _seeds_and_initial_faults
from temper.nn.shared_stages.training_profile import Profile
from temper.system import backend

SIDE, CLASSES = 8, 4
MODEL: Any = Ref("v2")
REFERENCE: Any = Ref("v1")
DATA: Any = Ref("data", part="test")
PROFILE = Profile({"low": np.zeros(CLASSES), "high": np.ones(CLASSES), "excluded": np.array(0)})
"""The profile of a criterion for the softmax, the only counted layer of the toys."""
TOGETHER = {"model": MODEL, "reference": REFERENCE, "data": DATA}


def linear(weights: Any) -> Classifier:
    keras = backend.keras()
    inputs = keras.Input((SIDE, SIDE, 1))
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, use_bias=False)(keras.layers.Flatten()(inputs)))
    model.layers[-1].set_weights([np.asarray(weights, np.float32)])
    return Classifier(model)


def versions(change: float = 0.35) -> tuple[Classifier, Classifier]:
    """Return two linear classifiers with slightly different weights."""
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


def roots() -> Roots:
    """Return the images that both versions get right."""
    return _seeds_and_initial_faults(images(), Versions(*versions()))[0]


class Killed(Exception):
    """Simulates a kill."""


def content(found: RegressionFaults) -> list[Any]:
    """Return the results that equal campaigns must share."""
    arrays = [getattr(found, name) for name in ("x", "y", "index", "v2", "generation", "found_at", "trace")]
    counts = [(p.mutants, p.rfi, p.urf, p.seeds, p.v2_failures, p.pool) for p in found.curve]
    return [*(array.tolist() for array in arrays), counts, [vars(count) for count in found.operators]]


def interrupted(fuzzer: RegressionFuzzer, after: int, folder: Path) -> tuple[RegressionFaults, int]:
    """Kill a campaign after so many mutants and resume it; return its findings, and where it resumed."""

    def interrupt(done: int, total: int, unit: str) -> None:
        if done >= after:
            raise Killed

    with pytest.raises(Killed):
        fuzz(fuzzer, folder=folder, progress=interrupt)
    first: list[int] = []
    resumed = fuzz(fuzzer, folder=folder, progress=lambda done, total, unit: first.append(done))
    return resumed, first[0]


def fuzz(
    fuzzer: RegressionFuzzer,
    seed: int = 1,
    folder: Path | None = None,
    interval: float = 0.0,
    progress: Any = None,
    **prepared: Any,
) -> RegressionFaults:
    """Run a fuzzer on the toys; with a folder its checkpoint is stored there."""
    old, new = versions()
    inputs = {"v1": old, "v2": new, "data": images(), "profile": PROFILE} | prepared
    report = progress or (lambda done, total, unit: None)
    checkpoint = Checkpoint(folder, interval)
    run = Run(
        "fuzz",
        seed,
        "test",
        lambda ref: inputs[ref.prepared or ref.stage],
        lambda ref: {},
        report,
        checkpoint=checkpoint,
    )
    return fuzzer.produce(run)
