from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pytest

from temper.core.artefacts import Examples
from temper.core.attack import Attack
from temper.core.classifier import Classifier
from temper.core.component import Component, Ref
from temper.core.errors import StageError
from temper.core.run import Run
from temper.repair.adversarial_training import AdversarialTraining
from temper.system import backend

RNG = np.random.default_rng(0)
Y = np.repeat(np.arange(2), 32)
X = np.clip(0.3 + 0.4 * Y[:, None, None, None] + RNG.normal(0, 0.1, (64, 3, 3, 1)), 0, 1).astype(np.float32)
MODEL, ATTACK = Ref[Classifier]("mlp"), Ref[Examples]("fgsm")
EPS = 0.1


@dataclass(frozen=True, kw_only=True)
class Sign(Attack):
    """One step of length eps along the sign of the gradient."""

    tag = "sign"
    eps: Annotated[float, "radius"] = EPS

    def perturb(self, victim: Classifier, x: Any, y: Any, rng: np.random.Generator) -> Any:
        return np.clip(x + self.eps * np.sign(victim.loss_gradient(x, y)), 0, 1)


def linear() -> Any:
    keras = backend.keras()
    backend.seed(1)
    return keras.Sequential([keras.Input((3, 3, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])


def repair(**fields: Any) -> AdversarialTraining:
    settings: Any = {"model": MODEL, "examples": ATTACK, "epochs": 3, "batch_size": 16, "learning_rate": 0.01} | fields
    return AdversarialTraining(**settings)


def run(component: AdversarialTraining, artefacts: list[Any], seed: int = 0) -> Run:
    """A run that knows exactly the references the component declares, in their order."""
    loaded = dict(zip(component.references(), artefacts, strict=True))
    return Run("hard", seed, None, loaded.__getitem__, lambda _: {}, lambda *_: None)


def clean() -> Examples:
    return Examples(x=X, y=Y, index=np.arange(64))


def weights(classifier: Classifier) -> np.ndarray:
    return np.concatenate([w.ravel() for w in classifier.model.get_weights()])


@pytest.mark.parametrize("recipe", ["gf", "default", "madry"])
def test_the_model_to_harden_is_unchanged_and_the_seed_determines_the_result(recipe: Any) -> None:
    source, component = Classifier(linear()), repair(recipe=recipe)
    before = weights(source)
    second = Examples(x=np.clip(X + EPS, 0, 1), y=Y, index=np.arange(64)) if recipe == "gf" else attack()
    first, again, other = (component.produce(run(component, [source, second, clean()], seed)) for seed in (0, 0, 1))

    np.testing.assert_array_equal(weights(source), before)
    np.testing.assert_array_equal(weights(first), weights(again))
    assert not np.array_equal(weights(first), weights(other))
    assert not np.array_equal(weights(first), before)


def attack(**fields: Any) -> Sign:
    return Sign(model=MODEL, **fields)


@pytest.mark.parametrize(
    ("recipe", "start", "continues"),
    [("gf", None, False), ("default", None, True), ("madry", None, True), ("gf", "continued", True),
     ("default", "fresh", False)],
)  # fmt: skip
def test_each_recipe_starts_as_published(recipe: Any, start: Any, continues: bool) -> None:
    """With a tiny learning rate the weights stay at their initial values."""
    source, component = Classifier(linear()), repair(recipe=recipe, start=start, learning_rate=1e-12)
    second = clean() if recipe == "gf" else attack()
    result = component.produce(run(component, [source, second, clean()]))
    assert np.allclose(weights(result), weights(source), atol=1e-8) == continues


def test_pairs_are_aligned_by_the_index_of_the_examples() -> None:
    """A generator may return some of the images, in an order of its own; gf with ratio 1 trains on their clean twins."""
    chosen = np.array([5, 40, 3, 33, 60, 1])
    some = Examples(x=np.zeros_like(X[chosen]), y=Y[chosen], index=chosen)
    whole = Examples(x=X[chosen], y=Y[chosen], index=np.arange(6))
    picked, plain = repair(ratio=1.0, as_published=True), repair(ratio=1.0, as_published=True)
    source = Classifier(linear())

    a = picked.produce(run(picked, [source, some, clean()]))
    b = plain.produce(run(plain, [source, whole, Examples(x=X[chosen], y=Y[chosen], index=np.arange(6))]))
    np.testing.assert_allclose(weights(a), weights(b), atol=1e-7)


def test_examples_of_other_images_are_rejected() -> None:
    component = repair()
    outside = Examples(x=X[:1], y=Y[:1], index=np.array([64]))
    with pytest.raises(StageError, match="image 64 is not among the 64 images"):
        component.produce(run(component, [Classifier(linear()), outside, clean()]))


def test_on_the_fly_requires_an_attack() -> None:
    component = repair(recipe="madry")

    class Other(Component):
        tag = "noise"

    with pytest.raises(StageError, match=r"needs an attack on a model \(fgsm, pgd, .*received noise; use recipe: gf"):
        component.produce(run(component, [Classifier(linear()), Other(), clean()]))


@pytest.mark.parametrize(
    ("examples", "recipe", "expected"),
    [
        (Ref("fgsm"), "gf", [Ref("fgsm", part="train"), Ref("fgsm", part="train", clean=True)]),
        (Ref("fgsm", part="test"), "gf", [Ref("fgsm", part="test"), Ref("fgsm", part="test", clean=True)]),
        (Ref("fgsm"), "madry", [Ref("fgsm", definition=True), Ref("fgsm", part="train", clean=True)]),
        (
            Ref("fgsm", definition=True),
            "default",
            [Ref("fgsm", definition=True), Ref("fgsm", part="train", clean=True)],
        ),
    ],
)
def test_the_references_are_the_images_or_the_attack_and_the_clean_images(
    examples: Any, recipe: Any, expected: Any
) -> None:
    component = repair(examples=examples, recipe=recipe)
    assert list(component.references()) == [MODEL, *expected]
    assert component.part_of("examples") == ("train" if recipe == "gf" else "definition")
    assert component.part_of("model") == "train"


@pytest.mark.parametrize(
    ("fields", "faulty"),
    [
        ({"recipe": "madry", "ratio": 0.5}, ["ratio"]),
        ({"recipe": "madry", "ratio": 1}, []),
        ({"recipe": "default", "ratio": 0.0}, ["ratio"]),
        ({"recipe": "gf", "ratio": 0.0}, []),
        ({"recipe": "madry", "as_published": True}, ["as_published"]),
        ({"start": "continued", "as_published": True}, ["as_published"]),
        ({"as_published": True}, []),
    ],
)
def test_contradictory_settings_are_reported(fields: Any, faulty: list[str]) -> None:
    assert [field for field, _ in repair(**fields).check()] == faulty


def test_published_initial_weights_have_the_deviation_of_the_first_axis_and_biases_of_a_tenth() -> None:
    keras = backend.keras()
    layers = keras.layers
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(64, 3), layers.Flatten(), layers.Dense(200)])
    component = repair(as_published=True, learning_rate=1e-12, epochs=1)
    images = Examples(x=np.zeros((1, 8, 8, 3), np.float32), y=np.zeros(1, np.int64), index=np.arange(1))
    fresh = component.produce(run(component, [Classifier(model), images, images])).model

    # A normal cut at two deviations has 0.8796 of its deviation.
    for layer, first_axis in ((fresh.layers[0], 3), (fresh.layers[2], 6 * 6 * 64)):
        kernel, bias = layer.get_weights()
        deviation = np.sqrt(2 / first_axis)
        assert kernel.std() == pytest.approx(0.8796 * deviation, rel=0.05)
        assert np.abs(kernel).max() <= 2 * deviation * (1 + 1e-6)
        np.testing.assert_allclose(bias, 0.1, rtol=1e-6)


def test_adversarial_training_raises_accuracy_under_the_attack() -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 400)
    # One pixel tells the class nine times in ten, beyond the attack's reach; six tell it always, within its reach.
    x = np.full((400, 3, 3, 1), 0.5, np.float32)
    x[:, 0, 0, 0] += np.where(y == 1, 0.4, -0.4) * (rng.random(400) < 0.9)
    x[:, 1:, :, 0] += np.where(y == 1, 0.05, -0.05)[:, None, None]
    data = Examples(x=x, y=y, index=np.arange(400))
    source = Classifier(linear())
    plain = repair(recipe="gf", ratio=1.0, epochs=80, learning_rate=0.1)
    hard = repair(recipe="madry", epochs=80, learning_rate=0.1)
    robust = []
    for component, second in ((plain, data), (hard, attack())):
        model = component.produce(run(component, [source, second, data]))
        moved = attack().craft(model, x, y, np.random.default_rng(0))
        robust.append((model.predict(moved) == y).mean())

    assert robust[0] < 0.5
    assert robust[1] > 0.85


def test_on_the_fly_equals_arts_trainer_without_randomness() -> None:
    """With ratio 1 and the whole set as one batch, no random choice matters."""
    tf = pytest.importorskip("tensorflow")
    if backend.name() != "tensorflow":
        pytest.skip("ART's Keras classifier works on TensorFlow")
    from art.attacks.evasion import FastGradientMethod
    from art.defences.trainer import AdversarialTrainer
    from art.estimators.classification import TensorFlowV2Classifier

    theirs, source = linear(), Classifier(linear())
    estimator = TensorFlowV2Classifier(
        theirs, nb_classes=2, input_shape=(3, 3, 1), clip_values=(0, 1), optimizer=backend.keras().optimizers.Adam(0.01),
        loss_object=tf.keras.losses.CategoricalCrossentropy(from_logits=True),
    )  # fmt: skip
    trainer = AdversarialTrainer(estimator, FastGradientMethod(estimator, eps=EPS, batch_size=64), ratio=1.0)
    trainer.fit(X, np.eye(2, dtype=np.float32)[Y], batch_size=64, nb_epochs=5)

    component = repair(recipe="madry", epochs=5, batch_size=64)
    ours = component.produce(run(component, [source, attack(), clean()]))
    np.testing.assert_allclose(weights(ours), weights(Classifier(theirs)), atol=1e-5)


@pytest.mark.parametrize("ratio", [0.3, 0.5, 1.0])
def test_as_many_images_of_each_batch_are_replaced_as_in_art(ratio: float, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("art")
    if backend.name() != "tensorflow":
        pytest.skip("ART's Keras classifier works on TensorFlow")
    from art.attacks.evasion import FastGradientMethod
    from art.defences.trainer import AdversarialTrainer
    from art.estimators.classification import TensorFlowV2Classifier

    keras = backend.keras()
    estimator = TensorFlowV2Classifier(
        linear(), nb_classes=2, input_shape=(3, 3, 1), optimizer=keras.optimizers.Adam(0.01),
        loss_object=keras.losses.CategoricalCrossentropy(from_logits=True),
    )  # fmt: skip
    generator = FastGradientMethod(estimator, eps=EPS)
    theirs: list[int] = []
    ours: list[int] = []

    def generate(x: Any, y: Any) -> Any:
        theirs.append(len(x))
        return x

    def perturb(self: Sign, victim: Classifier, x: Any, y: Any, rng: np.random.Generator) -> Any:
        ours.append(len(x))
        return x

    monkeypatch.setattr(generator, "generate", generate)
    monkeypatch.setattr(Sign, "perturb", perturb)
    AdversarialTrainer(estimator, generator, ratio=ratio).fit(X[:50], np.eye(2)[Y[:50]], batch_size=16, nb_epochs=2)
    component = repair(recipe="default", ratio=ratio, epochs=2)
    fifty = dataclasses.replace(clean(), x=X[:50], y=Y[:50], index=np.arange(50))
    component.produce(run(component, [Classifier(linear()), attack(), fifty]))

    assert ours == theirs
