"""Guided retraining: training data, initial weights, and shared trainings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from temper.artefacts.retrained_classifier import Retrained
from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.errors import SpecError
from temper.core.run import Run, prepared
from temper.engine.planning.task_graph import TaskGraph
from temper.evaluation.scores.uncertainty import DeepGini
from temper.nn.shared_stages.retraining_order import RetrainingOrder, RetrainingOrdering
from temper.nn.training import training
from temper.repair.guided_retraining import GuidedRetraining
from temper.system import backend

MODEL, DATA, FIRST, SECOND = Ref[Classifier]("m"), Ref[Examples]("d"), Ref[Examples]("f"), Ref[Examples]("s")


def examples(first: int, n: int) -> Examples:
    """Images whose shade and label identify their row in the union."""
    rows = np.arange(first, first + n)
    x = np.tile((rows / 100).astype(np.float32)[:, None, None, None], (1, 2, 2, 1))
    return Examples(x=x, y=rows % 3, index=np.arange(n))


SETS = {DATA: examples(0, 10), FIRST: examples(10, 4), SECOND: examples(14, 6)}
ROWS = np.random.default_rng(0).permutation(20)
ORDER = RetrainingOrder(np.zeros(20), ROWS, ROWS[ROWS >= 10], {"unjudged": 0, "remarks": []})


@pytest.fixture(scope="module")
def original() -> Classifier:
    keras = backend.keras()
    backend.seed(1)
    return Classifier(keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Records training data and initial weights instead of training."""
    calls: list[dict[str, Any]] = []

    def fit(model: Any, x: Any, y: Any, settings: training.TrainingSettings, **how: Any) -> list[float]:
        rows = np.rint(x[:, 0, 0, 0] * 100).astype(int)
        np.testing.assert_array_equal(y, rows % 3)
        calls.append({"rows": rows.tolist(), "weights": model.get_weights()[0], "settings": settings, **how})
        return []

    monkeypatch.setattr(training, "fit", fit)
    return calls


def made(original: Classifier, seed: int = 1, order: RetrainingOrder = ORDER, **fields: Any) -> Retrained:
    repair = GuidedRetraining(model=MODEL, data=DATA, examples=(FIRST, SECOND), order=DeepGini(), **fields)
    repair = repair.equivalent()  # type: ignore[assignment]
    known: dict[str, Any] = {str(ref): found for ref, found in SETS.items()} | {str(MODEL): original}
    known |= {str(prepared(name)): order for name in repair.preparations()}
    return repair.produce(
        Run(repair.stream("any"), seed, None, lambda ref: known[str(ref)], lambda _: {}, lambda *_: None)
    )


@pytest.mark.parametrize("share", [0.05, 0.1, 0.33, 0.55, 0.95])
def test_it_trains_on_the_first_images_of_the_order(
    original: Classifier, seen: list[dict[str, Any]], share: float
) -> None:
    model = made(original, inputs=share)
    count = {0.05: 1, 0.1: 2, 0.33: 7, 0.55: 11, 0.95: 19}[share]
    assert seen[0]["rows"] == sorted(ROWS[:count])
    assert model.trained_on.inputs == count
    assert model.trained_on.adversarial == (ROWS[:count] >= 10).sum()
    assert model.trained_on.available == 20


def test_original_adversarial_trains_on_adversarial_images_only(
    original: Classifier, seen: list[dict[str, Any]]
) -> None:
    model = made(original, inputs=0.5, configuration="original_adversarial")
    assert seen[0]["rows"] == sorted([row for row in ROWS if row >= 10][:5])
    assert (model.trained_on.inputs, model.trained_on.adversarial, model.trained_on.available) == (5, 5, 10)
    made(original, configuration="original_adversarial")
    assert seen[1]["rows"] == list(range(10, 20))


def test_a_share_of_one_uses_all_images(original: Classifier, seen: list[dict[str, Any]]) -> None:
    assert made(original).trained_on.inputs == 20
    assert seen[0]["rows"] == list(range(20))


def test_weights_are_the_models_or_new_ones_by_seed(original: Classifier, seen: list[dict[str, Any]]) -> None:
    own = original.model.get_weights()[0]
    for configuration in ("original_all", "original_adversarial"):
        made(original, configuration=configuration)
        np.testing.assert_array_equal(seen[-1]["weights"], own)
    for seed, share in ((1, 0.5), (1, 1.0), (2, 0.5)):
        made(original, seed, inputs=share, configuration="scratch_all")
    one, whole, other = (call["weights"] for call in seen[-3:])
    np.testing.assert_array_equal(one, whole)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, own)
    assert seen[-3]["seed"] == seen[-2]["seed"] != seen[-1]["seed"]


def test_the_original_is_unchanged(original: Classifier) -> None:
    before = original.model.get_weights()[0].copy()
    model = made(original, inputs=0.5, epochs=2)
    np.testing.assert_array_equal(original.model.get_weights()[0], before)
    assert not np.array_equal(model.model.get_weights()[0], before)


def test_unscored_images_are_reported(original: Classifier, seen: list[dict[str, Any]]) -> None:
    order = RetrainingOrder(np.zeros(20), ROWS, ROWS[ROWS >= 10], {"unjudged": 3, "remarks": ["a remark"]})
    assert made(original, order=order, inputs=0.5).trained_on.note == "3 of 20 inputs have no score; a remark"


def test_a_stored_artefact_is_restored(original: Classifier, tmp_path: Path) -> None:
    written = made(original, inputs=0.3, epochs=1)
    written.save(tmp_path)
    read = Retrained.load(tmp_path)
    assert read.trained_on == written.trained_on
    np.testing.assert_array_equal(read.model.get_weights()[0], written.model.get_weights()[0])


EXPERIMENT = """
name: guided
seeds: [1]
axes:
  share: [0.1, 0.5, 1.0]
  configuration: [scratch_all, original_adversarial]
datasets:
  digits: {type: digits, train_size: 120, test_size: 60}
targets:
  mlp: {type: dense, dataset: digits, layers: 1, units: 16, epochs: 2}
generate:
  fgsm: {type: fgsm, model: mlp, eps: 0.2}
  noise: {type: uniform_noise, model: mlp, eps: 0.2}
repair:
  by_gini: &guided
    {type: guided_retraining, model: mlp, examples: [fgsm, noise], inputs: $share, epochs: 1, order: {type: deepgini},
     configuration: $configuration}
  by_chance: {<<: *guided, order: {type: random}}
evaluate:
  curve: {type: retraining_accuracy, models: [mlp, by_gini, by_chance], examples: [digits, fgsm]}
"""


def test_orders_are_computed_once_and_share_one_training(graph: Callable[..., TaskGraph]) -> None:
    tasks = list(graph(EXPERIMENT).tasks.values())
    trainings = [task for task in tasks if isinstance(task.component, GuidedRetraining)]
    # Two orders at two shares and two configurations, and once the whole of each configuration.
    assert len(trainings) == 2 * 2 * 2 + 2
    assert all(task.component.order is None for task in trainings if task.component.inputs == 1)  # type: ignore[attr-defined]
    assert sum(isinstance(task.component, RetrainingOrdering) for task in tasks) == 2
    assert sum(task.component.tag == "observation" for task in tasks) == 3


def test_a_share_of_the_images_needs_an_order(graph: Callable[..., TaskGraph]) -> None:
    with pytest.raises(SpecError, match="set the score that orders the images"):
        graph(EXPERIMENT.replace("order: {type: deepgini},", ""))


@pytest.mark.slow
def test_the_engine_runs_it(run: Callable[..., tuple[int, str]], write: Callable[..., Path], tmp_path: Path) -> None:
    code, said = run(write(EXPERIMENT))
    assert code == 0, said
    results = pd.read_csv(tmp_path / "outputs" / "guided" / "results.csv")
    whole = results[(results.share == 1.0) & (results.metric == "accuracy")]
    points = whole.set_index(["configuration", "examples", "model"])["value"].unstack()
    assert (points["by_gini"] == points["by_chance"]).all()
    inputs = results[results.metric == "inputs"]
    assert set(inputs.value) == {36, 180, 360, 24, 120, 240}
    counts = results[(results.metric == "accuracy") & (results.model == "mlp")].set_index("examples")
    hits = counts.value * counts.n
    assert hits["union"] == pytest.approx(hits["digits"] + hits["fgsm"])
    assert counts.n["union"] == 120
