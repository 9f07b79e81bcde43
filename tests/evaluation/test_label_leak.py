"""The label leak, on models that read the image only, or the perturbation only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from temper.artefacts.class_generators import ClassGenerators
from temper.core.artefacts import Examples, Images, Labels
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.run import Run
from temper.evaluation.label_leak import LabelLeak
from temper.system import backend

MODEL: Any = Ref("model")
DGN: Any = Ref("dgn", "test")
N = 400


class Marks(ClassGenerators):
    """Raises pixel (1, class) of each image by 0.2."""

    kind = "marks"

    def perturb(self, x: Images, labels: Labels) -> Images:
        made = x.copy()
        made[np.arange(len(x)), 1, labels, 0] += 0.2
        return made

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> Marks:
        raise NotImplementedError


def reader(row: int) -> Classifier:
    """Return a classifier that says in which column a row of 2 x 4 pixels is brightest."""
    keras = backend.keras()
    model = keras.Sequential([keras.Input((2, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    weights = np.zeros((8, 4), np.float32)
    weights[4 * row : 4 * row + 4] = np.eye(4)
    model.set_weights([weights, np.zeros(4)])
    return Classifier(model)


def images() -> Examples:
    """The first row tells the class; the second is where the mark will be."""
    y = np.arange(N) % 4
    x = np.full((N, 2, 4, 1), 0.5, np.float32)
    x[np.arange(N), 0, y, 0] = 0.9
    return Examples(x, y, np.arange(N))


def measured(model: Classifier, learnt: Marks) -> dict[str, float]:
    known: dict[Any, Any] = {
        MODEL: model,
        replace(DGN, clean=True): images(),
        replace(DGN, prepared="networks"): learnt,
    }
    run = Run("leak", 1, None, known.__getitem__, lambda _: {}, lambda *_: None)
    rows = list(LabelLeak(models=(MODEL,), examples=(DGN,)).measure(run))
    assert all(row.n == N for row in rows)
    return {row.metric: row.value for row in rows}


def test_who_reads_the_image_is_right_whoever_perturbed_it() -> None:
    assert measured(reader(0), Marks()) == {"says_generator": 0.0, "accuracy": 1.0, "own_accuracy": 1.0}


def test_who_reads_the_perturbation_says_whose_it_is() -> None:
    assert measured(reader(1), Marks()) == {"says_generator": 1.0, "accuracy": 0.0, "own_accuracy": 1.0}
