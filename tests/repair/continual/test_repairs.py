"""Continual repairs: training data, memory, and unchanged originals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from temper.artefacts.incremental_classifier import Incremental, predict_among_rivals
from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.errors import SpecError, StageError
from temper.core.run import DataOrigin, Run
from temper.engine.planning.task_graph import TaskGraph
from temper.repair.continual.class_incremental import ClassIncremental
from temper.repair.continual.continual import Continual
from temper.repair.continual.continual_repair import ContinualRepair
from temper.repair.continual.regularisers import EWC, LwF
from temper.repair.continual.task_incremental import TaskIncremental
from temper.system import backend
from tests.initial_weights import set_glorot

MODEL, DATA, CASES, MORE = Ref[Classifier]("m"), Ref[Examples]("d"), Ref[Examples]("c"), Ref[Examples]("e")
RNG = np.random.default_rng(0)
CLASSES = 4


def bars(n: int, shade: float) -> Examples:
    """Images of a bright row, whose number is the class."""
    y = np.arange(n) % CLASSES
    x = RNG.uniform(0, 0.2, (n, 4, 4, 1)).astype(np.float32)
    x[np.arange(n), y] = shade
    return Examples(x=x, y=y, index=np.arange(n))


ORIGINAL, BRIGHT, FAINT = bars(120, 0.9), bars(24, 0.6), bars(16, 0.4)


def network() -> Any:
    keras = backend.keras()
    layers = keras.layers
    return set_glorot(keras.Sequential([
        keras.Input((4, 4, 1)), layers.Conv2D(4, 2, activation="relu"), layers.BatchNormalization(), layers.Flatten(),
        layers.Dense(8, activation="relu"), layers.Dense(CLASSES),
    ]))  # fmt: skip


@pytest.fixture
def model() -> Classifier:
    return Classifier(network())


def repaired(repair: ContinualRepair, model: Classifier, seen: list[tuple[int, int, str]] | None = None) -> Any:
    known: dict[str, Any] = {"m": model, "d": ORIGINAL, "c": BRIGHT, "e": FAINT}
    run = Run("it", 1, None, lambda ref: known[str(ref)], lambda _: {}, lambda *args: (seen or []).append(args))
    made = repair.produce(run)
    made.images = run.images
    return made


def continual(**fields: Any) -> Continual:
    return Continual(model=MODEL, data=DATA, examples=(CASES, MORE), **{"epochs": 2, "batch_size": 8} | fields)


def weights(model: Classifier) -> list[np.ndarray]:
    return [np.array(part) for part in model.model.get_weights()]


def test_it_records_its_training_data_and_leaves_the_original_unchanged(model: Classifier) -> None:
    before = weights(model)
    seen: list[tuple[int, int, str]] = [(0, 0, "")]
    made = repaired(continual(memory_per_class=5), model, seen)
    assert (made.trained_on.inputs, made.trained_on.adversarial, made.trained_on.available) == (60, 40, 160)
    assert made.images == 2 * 2 * 40, "two epochs of the cases, and as many replayed images"
    assert seen[-1] == (2, 2, "epochs")
    for one, other in zip(before, weights(model), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((a != b).any() for a, b in zip(before, weights(made), strict=True))


@pytest.mark.parametrize(
    "regulariser", [LwF(), *(pytest.param(r, marks=pytest.mark.slow) for r in (None, EWC(samples=10)))]
)
def test_the_same_seed_gives_the_same_weights(model: Classifier, regulariser: Any) -> None:
    first, second = (repaired(continual(memory_per_class=3, regulariser=regulariser), model) for _ in range(2))
    for one, other in zip(weights(first), weights(second), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_frozen_layers_are_unchanged_and_trainable_afterwards(model: Classifier) -> None:
    settings = {"learning_rate": 0.01, "memory_per_class": 3}
    for freeze, moving in (
        ({}, {0, 1, 2}),
        ({"freeze": "first", "freeze_layers": 2}, {2, 3}),
        ({"freeze": "all_but_head"}, {3}),
    ):
        made = repaired(continual(**settings, **freeze), model)
        layers = [
            (before, after)
            for before, after in zip(model.model.layers, made.model.layers, strict=True)
            if before.weights
        ]
        changed = {
            number
            for number, (before, after) in enumerate(layers)
            if any((a != b).any() for a, b in zip(before.get_weights(), after.get_weights(), strict=True))
        }
        assert moving <= changed
        assert changed == (moving if freeze else {0, 1, 2, 3})
        assert all(layer.trainable for layer in made.model.layers)


@pytest.mark.slow
def test_a_heavy_penalty_holds_the_weights(model: Classifier) -> None:
    """Weights that matter to earlier steps stay; without the penalty they move."""
    free, held = (
        repaired(continual(memory_per_class=0, learning_rate=1e-3, regulariser=regulariser), model)
        for regulariser in (None, EWC(weight=1e9, samples=30))
    )
    moved = [np.abs(made.model.get_weights()[-1] - model.model.get_weights()[-1]).max() for made in (free, held)]
    assert moved[1] < moved[0] / 2


@pytest.mark.slow
def test_a_heavy_distillation_preserves_the_predictions(model: Classifier) -> None:
    free, held = (
        repaired(continual(memory_per_class=0, epochs=20, learning_rate=1e-2, regulariser=regulariser), model)
        for regulariser in (None, LwF(weight=1000.0, temperature=1.0))
    )
    moved = [np.abs(made.logits(BRIGHT.x) - model.logits(BRIGHT.x)).mean() for made in (free, held)]
    assert moved[1] < moved[0] / 2


@pytest.mark.slow
def test_replay_prevents_forgetting() -> None:
    """Corner cases of a single class teach the model to always predict that class."""
    only = Examples(x=BRIGHT.x[:], y=np.zeros(len(BRIGHT), np.int64), index=BRIGHT.index)
    known: dict[str, Any] = {"m": Classifier(network()), "d": ORIGINAL, "c": only}
    found = []
    for memory in (0, 30):
        repair = Continual(model=MODEL, data=DATA, examples=(CASES,), memory_per_class=memory, epochs=30,
                           learning_rate=0.01, batch_size=8)  # fmt: skip
        made = repair.produce(Run("it", 1, None, lambda ref: known[str(ref)], lambda _: {}, lambda *_: None))
        found.append((made.predict(ORIGINAL.x) == ORIGINAL.y).mean())
    assert found[0] < 0.5
    assert found[1] > 0.9


def stepwise(kind: Any, model: Classifier, **fields: Any) -> Incremental:
    settings = {"tasks": 2, "epochs": 8, "batch_size": 8, "learning_rate": 0.01, "examples": (CASES,)} | fields
    made = repaired(kind(model=MODEL, data=DATA, **settings), model)
    assert isinstance(made, Incremental)
    return made


def accuracy(made: Incremental, step: int, task: int) -> float:
    among = np.isin(ORIGINAL.y, made.tasks[task])
    x, y = ORIGINAL.x[among], ORIGINAL.y[among]
    return float((predict_among_rivals(made.after(step), x, y, made.rivals(step)) == y).mean())


def test_classes_come_in_groups_and_are_forgotten_without_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a linear model on a bright ground: what is learnt later lowers the earlier logits by pixels that all classes share."""
    for name, images in (("ORIGINAL", ORIGINAL), ("BRIGHT", BRIGHT)):
        monkeypatch.setitem(globals(), name, replace(images, x=0.5 + images.x / 2))
    keras = backend.keras()
    model = Classifier(keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]))
    settings = {"epochs": 20, "learning_rate": 0.02}
    naive = stepwise(ClassIncremental, model, regulariser=None, memory_per_class=0, **settings)
    assert (naive.tasks, naive.steps, naive.task_given) == (((0, 1), (2, 3)), (1, 2), False)
    assert accuracy(naive, 0, 0) > 0.95
    assert accuracy(naive, 0, 1) == 0, "classes not seen yet are never answered"
    assert accuracy(naive, 1, 0) < 0.3
    assert accuracy(naive, 1, 1) > 0.95
    replayed = stepwise(ClassIncremental, model, memory_per_class=20, **settings)
    assert accuracy(replayed, 1, 0) > 0.9


@pytest.mark.slow
def test_a_frozen_trunk_forgets_nothing_of_a_task(model: Classifier) -> None:
    fields = {"memory_per_class": 0, "tasks": 4}
    frozen = stepwise(TaskIncremental, model, freeze_trunk_after=1, **fields)
    assert frozen.task_given
    for task in range(4):
        for step in range(task, 4):
            assert accuracy(frozen, step, task) == accuracy(frozen, task, task)
    by_step = [frozen.after(step).model.get_weights()[-2] for step in range(4)]
    assert (by_step[3][:, 0] == by_step[0][:, 0]).all(), "the first head is untouched by later ones"


@pytest.mark.slow
def test_the_joint_schedule_is_one_step(model: Classifier) -> None:
    for kind in (ClassIncremental, TaskIncremental):
        joint = stepwise(kind, model, schedule="joint", regulariser=None, epochs=20)
        assert joint.steps == (2,)
        assert joint.earlier.shape[0] == 0
        assert accuracy(joint, 0, 0) > 0.95
        assert accuracy(joint, 0, 1) > 0.95


@pytest.mark.slow
def test_a_fresh_start_does_not_depend_on_the_models_weights(model: Classifier) -> None:
    own = model.model.layers[0].get_weights()[0]
    fields = {"epochs": 1, "learning_rate": 1e-8, "regulariser": None}
    np.testing.assert_allclose(
        stepwise(ClassIncremental, model, **fields).model.layers[0].get_weights()[0], own, atol=1e-5
    )
    fresh = stepwise(ClassIncremental, model, start="fresh", **fields).model.layers[0].get_weights()[0]
    assert np.abs(fresh - own).max() > 0.01


@pytest.mark.parametrize(
    ("repair", "message"),
    [
        (continual(freeze="first", freeze_layers=4), "the model has 4 layers with weights, and 4 are frozen"),
        (
            ClassIncremental(model=MODEL, data=DATA, tasks=5),
            "tasks: expected at most 4, one for each class, received 5",
        ),
        (TaskIncremental(model=MODEL, data=CASES, tasks=2), "none of the 0 images is of the classes owl, bat"),
        (continual(learning_rate=1e30, memory_per_class=3), "training diverged"),
    ],
)
def test_impossible_settings_are_reported(repair: ContinualRepair, message: str, model: Classifier) -> None:
    empty = Examples(x=BRIGHT.x[:0], y=BRIGHT.y[:0], index=BRIGHT.index[:0])
    stepless = isinstance(repair, TaskIncremental)
    known: dict[str, Any] = {"m": model, "d": ORIGINAL, "c": empty if stepless else BRIGHT, "e": FAINT}
    with pytest.raises(StageError, match=message):
        repair.produce(
            Run("it", 1, None, lambda ref: known[str(ref)], lambda _: {}, lambda *_: None,
                origin=lambda ref: DataOrigin(classes=("owl", "bat", "cat", "dog")))
        )  # fmt: skip


def test_an_empty_validation_part_is_reported(model: Classifier) -> None:
    known: dict[str, Any] = {
        "m": model,
        "d": ORIGINAL,
        "c": BRIGHT,
        "e": Examples(x=BRIGHT.x[:0], y=BRIGHT.y[:0], index=BRIGHT.index[:0]),
    }
    with pytest.raises(StageError, match="e has no image to learn from; give the data set a validation part"):
        continual().produce(Run("it", 1, None, lambda ref: known[str(ref)], lambda _: {}, lambda *_: None))


def test_the_maps_of_a_convolutional_head_are_trained_separately() -> None:
    layers = backend.keras().layers
    pooled = backend.keras().Sequential([
        backend.keras().Input((4, 4, 1)), layers.Conv2D(8, (1, 4), activation="relu"), layers.Conv2D(CLASSES, (4, 1)),
        layers.GlobalAveragePooling2D(),
    ])  # fmt: skip
    made = stepwise(ClassIncremental, Classifier(pooled), memory_per_class=0, regulariser=None)
    kernel, bias = made.after(0).model.get_weights()[-2:]
    assert bias[:2].all()
    assert not bias[2:].any(), "classes not yet seen have not learnt"
    assert accuracy(made, 0, 0) > 0.9
    assert (kernel != made.model.get_weights()[-2]).any(), "the second group was learnt"


def test_a_head_without_separate_weights_per_class_is_rejected() -> None:
    layers = backend.keras().layers
    shared = backend.keras().Sequential(
        [backend.keras().Input((4, 4, 1)), layers.Flatten(), layers.Dense(CLASSES), layers.BatchNormalization()]
    )
    with pytest.raises(StageError, match="expected a dense layer of 4 units"):
        stepwise(ClassIncremental, Classifier(shared))


EXPERIMENT = """
name: continual
datasets:
  digits: {type: digits, train_size: 120, test_size: 60, validation: 0.25}
targets:
  mlp: {type: dense, dataset: digits, layers: 1, units: 16, epochs: 2}
generate:
  noise: {type: uniform_noise, model: mlp, eps: 0.2}
repair:
  cl: {type: continual, model: mlp, examples: [noise], regulariser: {type: ewc, samples: 10}, epochs: 1}
evaluate:
  robustness: {type: robustness_matrix, models: [mlp, cl], examples: [digits, noise], protocol: transfer}
"""


def test_corner_cases_are_the_validation_part_and_the_original_the_training_part(
    graph: Callable[..., TaskGraph],
) -> None:
    tasks = graph(EXPERIMENT).tasks
    (repair,) = [work for work in tasks.values() if work.stage == "cl"]
    assert {ref for ref in repair.inputs if not ref.startswith("mlp")} == {"noise.validation", "digits.train"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [("freeze: first", "requires the number of frozen layers"), ("freeze_layers: 2", "only freeze: first uses it")],
)
def test_contradictory_freezing_is_reported(graph: Callable[..., TaskGraph], fields: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        graph(EXPERIMENT.replace("samples: 10}, ", "samples: 10}, " + fields + ", "))
