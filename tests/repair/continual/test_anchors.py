"""Continual repair on real data and a published model, against a reference run and published orders of magnitude."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.artefacts.incremental_classifier import predict_among_rivals
from temper.core.artefacts import Data, Examples, Images
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.data_info import DataInfo
from temper.core.run import Run
from temper.repair.continual.class_groups import StepwiseRepair
from temper.repair.continual.class_incremental import ClassIncremental
from temper.repair.continual.continual import Continual
from temper.repair.continual.task_incremental import TaskIncremental
from temper.system import backend
from temper.targets.models.saved import Saved

pytestmark = pytest.mark.slow

MODEL, DATA, CASES = Ref[Classifier]("m"), Ref[Examples]("d"), Ref[Examples]("c")


def run(known: dict[Ref[Any], Any], stage: str = "it") -> Run:
    named = {str(ref): artefact for ref, artefact in known.items()}
    return Run(stage, 1, None, lambda ref: named[str(ref)], lambda _: {}, lambda *_: None)


def erased(x: Images, rng: np.random.Generator) -> Images:
    """Return images (n, 28, 28, 1) of which a rectangle of 10 to 33 % of the area is filled with uniform noise."""
    made = x.copy()
    size = x.shape[1]
    for image in made:
        area, ratio = rng.uniform(0.10, 0.33) * size**2, np.exp(rng.uniform(np.log(0.3), np.log(1 / 0.3)))
        height, width = (int(np.clip(round(side), 1, size)) for side in (np.sqrt(area * ratio), np.sqrt(area / ratio)))
        top, left = rng.integers(size - height + 1), rng.integers(size - width + 1)
        image[top : top + height, left : left + width] = rng.random((height, width, 1), np.float32)
    return made


def examples(x: Images, y: Any) -> Examples:
    return Examples(x=x, y=y.astype(np.int64), index=np.arange(len(y)))


def right(model: Classifier, images: Examples) -> float:
    return float((model.predict(images.x) == images.y).mean())


@pytest.mark.shared
def test_a_published_lenet_learns_erased_digits_and_forgets_next_to_nothing(shared: Path) -> None:
    folder = shared / "models" / "deepimportance"
    with np.load(shared / "data" / "mnist.npz") as arrays:
        x, y, x_test, y_test = (arrays[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    x, x_test = (images[..., None].astype(np.float32) / 255 for images in (x, x_test))
    train, test = examples(x[:50_000], y[:50_000]), examples(x_test, y_test)
    data = Data(DataInfo((28, 28, 1), tuple("0123456789")), train, train, test)
    target = Saved(dataset=Ref("w"), path=str(folder / "LeNet5.h5"), architecture=str(folder / "LeNet5.json"))
    published = target.produce(run({Ref("w"): data}))

    rng = np.random.default_rng(0)
    cases = examples(erased(x[50_000:52_000], rng), y[50_000:52_000])
    hold_out = examples(erased(x_test[:1000], rng), y_test[:1000])
    repair = Continual(model=MODEL, data=DATA, examples=(CASES,), memory_per_class=1000, epochs=5)
    repaired = repair.produce(run({MODEL: published, DATA: train, CASES: cases}))

    assert right(published, test) == pytest.approx(0.9879, abs=0.0005), "the published accuracy"
    assert repaired.trained_on.inputs == 12_000
    gained, lost = (
        right(repaired, hold_out) - right(published, hold_out),
        right(published, test) - right(repaired, test),
    )
    assert gained >= 0.05
    assert lost <= 0.005


@pytest.fixture(scope="module")
def digits() -> tuple[Examples, Examples, Classifier]:
    """Two thirds of scikit-learn's digits, the rest, and a network of which only the layers are used."""
    from sklearn.datasets import load_digits

    pixels, y = load_digits(return_X_y=True)
    x = (pixels / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    keras = backend.keras()
    backend.seed(0)
    hidden = [keras.layers.Dense(units, activation="relu") for units in (64, 32)]
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), *hidden, keras.layers.Dense(10)])
    return examples(x[:1200], y[:1200]), examples(x[1200:], y[1200:]), Classifier(network)


def test_split_digits_are_forgotten_and_kept_as_published(digits: tuple[Examples, Examples, Classifier]) -> None:
    """The order of van de Ven, Tuytelaars and Tolias (2022), table 2, with five tasks of two classes from scratch."""
    train, test, network = digits

    def average(repair: type[StepwiseRepair], **fields: Any) -> float:
        settings: dict[str, Any] = {"regulariser": None, "memory_per_class": 0, "start": "fresh", "epochs": 10} | fields
        made = repair(model=MODEL, data=DATA, **settings).produce(run({MODEL: network, DATA: train}))
        return float((predict_among_rivals(made, test.x, test.y, made.rivals()) == test.y).mean())

    naive = average(ClassIncremental)
    replay = average(ClassIncremental, memory_per_class=20)
    joint = average(ClassIncremental, schedule="joint")
    assert naive == pytest.approx(1 / 5, abs=0.06)
    assert replay > naive + 0.4
    assert joint >= replay - 0.02
    by_task = average(TaskIncremental)
    assert by_task > naive + 0.5
    assert average(TaskIncremental, schedule="joint") >= by_task
