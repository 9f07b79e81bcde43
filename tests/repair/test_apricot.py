from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Examples
from temper.core.checkpoint import Checkpoint
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.core.run import prepared
from temper.repair.apricot import Apricot, ModelUnderRepair, adapt
from temper.repair.reduced_models import ReducedModels, ReducedTraining, correct_answers, flat_trainable_first
from temper.system import backend
from tests.conftest import stopped_again_and_again
from tests.repair.support import DATA, MODEL, examples, run, small_model, weights

HELD_OUT: Ref[Examples] = Ref("data", part="validation")


def toy(*values: float) -> Any:
    """Return a model of two logits, w0 x and w1 x, of an image of one pixel."""
    keras = backend.keras()
    layers = keras.layers
    model = keras.Sequential([keras.Input((1, 1, 1)), layers.Flatten(), layers.Dense(2, use_bias=False)])
    model.set_weights([np.array([values])])
    return model


def own(model: Any) -> np.ndarray:
    return np.asarray(model.get_weights()[0])[0]


def test_the_update_equals_the_papers_by_hand() -> None:
    """Four reduced models, three of them right on the one failing image: pc = 3/4, pi = 1/4."""
    model = toy(1.0, 2.0)
    reduced = np.array([[2.0, 0.0], [4.0, 1.0], [3.0, -1.0], [0.0, 6.0]], np.float32)
    right = np.array([[True], [True], [True], [False]])
    adapt(model, reduced, right, step=0.1)
    correct, incorrect, w = np.array([3.0, 0.0]), np.array([0.0, 6.0]), np.array([1.0, 2.0])
    wanted = w - 0.1 * (3 / 4 * (w - correct) - 1 / 4 * (w - incorrect))
    np.testing.assert_allclose(own(model), wanted, rtol=1e-6)
    np.testing.assert_allclose(own(model), [1.175, 1.75], rtol=1e-6)


def test_weights_move_towards_right_models_and_away_from_wrong_ones() -> None:
    reduced = np.array([[5.0, 5.0]], np.float32)
    near, far = toy(1.0, 1.0), toy(1.0, 1.0)
    adapt(near, reduced, np.array([[True]]), step=0.5)
    adapt(far, reduced, np.array([[False]]), step=0.5)
    np.testing.assert_allclose(own(near), [3.0, 3.0])
    np.testing.assert_allclose(own(far), [-1.0, -1.0])


def test_the_changes_of_a_batch_are_summed() -> None:
    rng = np.random.default_rng(0)
    reduced, right = rng.normal(size=(5, 2)).astype(np.float32), rng.random((5, 3)) < 0.5
    together, changes = toy(1.0, 2.0), np.zeros(2)
    adapt(together, reduced, right, step=0.01)
    for image in range(3):
        alone = toy(1.0, 2.0)
        adapt(alone, reduced, right[:, [image]], step=0.01)
        changes += own(alone) - np.array([1.0, 2.0])
    np.testing.assert_allclose(own(together), changes + np.array([1.0, 2.0]), rtol=1e-5)


def test_reduced_models_predict_with_their_own_weights() -> None:
    one = Examples(x=np.full((2, 1, 1, 1), 0.5, np.float32), y=np.array([0, 1]), index=np.arange(2))
    reduced = ReducedModels(np.stack([flat_trainable_first(toy(2, 1)), flat_trainable_first(toy(1, 2))]))
    assert correct_answers(toy(0, 0), reduced, one).tolist() == [[True, False], [False, True]]


def test_a_change_that_costs_accuracy_is_reverted() -> None:
    held_out = Examples(x=np.full((2, 1, 1, 1), 0.5, np.float32), y=np.array([0, 0]), index=np.arange(2))
    fixing = ModelUnderRepair(toy(1.0, 2.0), held_out)
    assert fixing.accuracy == 0.0

    def become(*values: float) -> Any:
        return lambda model: model.set_weights([np.array([values])])

    assert not fixing.attempt(become(1.0, 3.0))  # no worse: kept, but no gain
    np.testing.assert_allclose(own(fixing.model), [1.0, 3.0])
    assert fixing.attempt(become(3.0, 1.0))
    assert fixing.accuracy == 1.0
    assert not fixing.attempt(become(0.0, 1.0))
    np.testing.assert_allclose(own(fixing.model), [3.0, 1.0])
    assert fixing.accuracy == 1.0


def fix(**fields: Any) -> Apricot:
    settings: Any = {
        "model": MODEL, "data": DATA, "reduced": 3, "subset": 0.5, "reduced_epochs": 10, "reduced_learning_rate": 0.01,
        "batch_size": 16, "learning_rate": 0.01, "failures": 7, "epochs": 5, "step": 0.01,
    }  # fmt: skip
    return Apricot(**(settings | fields))


def produced(component: Apricot, source: Classifier, seed: int = 0) -> Classifier:
    preparation = component.preparations()["reduced"]
    assert isinstance(preparation, ReducedTraining)
    known: dict[Ref[Any], Any] = {MODEL: source, DATA: examples(), HELD_OUT: examples(30, seed=5)}
    reduced = preparation.produce(run(preparation, known, seed))
    return component.produce(run(component, known | {prepared("reduced"): reduced}, seed))


def test_held_out_accuracy_never_drops_and_the_first_version_is_unchanged() -> None:
    source, held_out = Classifier(small_model()), examples(30, seed=5)
    before = weights(source)
    first, again, other = (produced(fix(), source, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(weights(source), before)
    np.testing.assert_array_equal(weights(first), weights(again))
    assert not np.array_equal(weights(first), weights(other))
    accuracies = [(model.predict(held_out.x) == held_out.y).mean() for model in (source, first)]
    assert accuracies[1] > accuracies[0]


def test_a_repeatedly_stopped_repair_reaches_the_same_weights(tmp_path: Path) -> None:
    source, component = Classifier(small_model()), fix(rounds=3)
    expected = produced(component, source)
    preparation = component.preparations()["reduced"]
    known: dict[Ref[Any], Any] = {MODEL: source, DATA: examples(), HELD_OUT: examples(30, seed=5)}
    known[prepared("reduced")], trained = stopped_again_and_again(
        lambda: preparation.produce(run(preparation, known, 0, Checkpoint(tmp_path / "reduced")))
    )
    made, fixed = stopped_again_and_again(
        lambda: component.produce(run(component, known, 0, Checkpoint(tmp_path / "fixing")))
    )
    assert trained == 3 * (10 + 1), "after each epoch of each reduced model, and after each model"
    assert fixed == 3, "after each round"
    np.testing.assert_array_equal(weights(made), weights(expected))


def test_zero_epochs_leave_only_the_adaptation() -> None:
    """A tiny step leaves the weights unchanged."""
    source = Classifier(small_model())
    np.testing.assert_allclose(weights(produced(fix(epochs=0, step=1e-12), source)), weights(source), atol=1e-7)


def test_reduced_models_do_not_depend_on_the_adaptation_settings() -> None:
    one, two = (component.preparations()["reduced"] for component in (fix(), fix(step=0.5, rounds=9, epochs=0)))
    assert one == two
    assert set(one.references()) == {MODEL, DATA}


def test_the_holdout_defaults_to_the_validation_part() -> None:
    assert list(fix().references()) == [MODEL, DATA, HELD_OUT]
    named = Ref[Examples]("other", part="validation")
    assert list(fix(holdout=named).references()) == [MODEL, DATA, named]
    assert [field for field, _ in fix(holdout=dataclasses.replace(named, part="test")).check()] == ["holdout"]


def test_an_empty_holdout_is_an_error_with_a_remedy() -> None:
    component = fix()
    known: dict[Ref[Any], Any] = {
        MODEL: Classifier(small_model()), DATA: examples(), HELD_OUT: examples().take(np.arange(0))
    }  # fmt: skip
    with pytest.raises(StageError, match=r"holdout: data\.validation has no image; .*validation: 0\.1"):
        component.produce(run(component, known))
