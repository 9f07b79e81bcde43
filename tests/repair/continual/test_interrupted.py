"""Interrupted continual repairs reach the same weights and repeat no finished step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.artefacts.incremental_classifier import Incremental
from temper.core.checkpoint import Checkpoint
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.nn.training.training import steps_per_call
from temper.repair.continual.class_incremental import ClassIncremental
from temper.repair.continual.continual import Continual
from temper.repair.continual.continual_repair import ContinualRepair
from temper.repair.continual.regularisers import EWC, LwF
from temper.system import backend
from tests.conftest import stopped_again_and_again
from tests.repair.support import examples, run

MODEL: Any = Ref("m")
DATA: Any = Ref("d", part="train")
CASES: Any = Ref("c", part="validation")


def network() -> Classifier:
    """A network whose dropout draws random numbers in training."""
    keras = backend.keras()
    layers = keras.layers
    backend.seed(0)
    return Classifier(keras.Sequential([
        keras.Input((6, 6, 1)), layers.AveragePooling2D(2), layers.Flatten(), layers.Dense(6, activation="relu"),
        layers.Dropout(0.3), layers.Dense(3),
    ]))  # fmt: skip


def weights(model: Classifier) -> list[Any]:
    return [np.array(part) for part in model.model.get_weights()]


COMMON: dict[str, Any] = {"model": MODEL, "data": DATA, "examples": (CASES,), "epochs": 2, "batch_size": 4}


@pytest.mark.parametrize(
    ("repair", "stops"),
    [
        # Nine new images beside as many replayed ones: three batches an epoch, six in all. The penalty is kept, too.
        (Continual(**COMMON, memory_per_class=2), 6 // steps_per_call(3, 1)),
        (Continual(**COMMON, memory_per_class=2, regulariser=EWC(samples=4)), 6 // steps_per_call(3, 1) + 1),
        (ClassIncremental(**COMMON, tasks=2, memory_per_class=4, regulariser=EWC(samples=4)), None),
        (ClassIncremental(**COMMON, tasks=3, memory_per_class=4, regulariser=LwF(), freeze_trunk_after=1), None),
    ],
    ids=["replay", "ewc", "ewc by class", "lwf by class"],
)
def test_an_interrupted_repair_reaches_the_same_weights(
    repair: ContinualRepair, stops: int | None, tmp_path: Path
) -> None:
    model = network()
    inputs: dict[Any, Any] = {MODEL: model, DATA: examples(30), CASES: examples(9, seed=1)}

    def make(checkpoint: Checkpoint | None = None) -> tuple[Any, int]:
        work = run(repair, inputs, checkpoint=checkpoint)
        return repair.produce(work), work.images

    whole, _ = make()
    kept = Checkpoint(tmp_path, interval=3600)
    (pieces, _), stopped = stopped_again_and_again(lambda: make(kept))
    assert stopped > 2
    assert stops is None or stopped == stops
    for one, other in zip(weights(whole), weights(pieces), strict=True):
        np.testing.assert_array_equal(one, other)
    if isinstance(whole, Incremental):
        np.testing.assert_array_equal(whole.earlier, pieces.earlier)


def test_a_pause_to_save_changes_nothing(tmp_path: Path) -> None:
    """A checkpoint that is due after every call into the framework, in a process that continues."""
    repair = Continual(**COMMON | {"epochs": 3}, memory_per_class=2)
    inputs: dict[Any, Any] = {MODEL: network(), DATA: examples(30), CASES: examples(9, seed=1)}
    kept = [repair.produce(run(repair, inputs, checkpoint=c)) for c in (None, Checkpoint(tmp_path, interval=0))]
    for one, other in zip(*map(weights, kept), strict=True):
        np.testing.assert_array_equal(one, other)
    again = replace(repair, learning_rate=0.1)
    assert (weights(kept[0])[0] != weights(again.produce(run(again, inputs)))[0]).any()
