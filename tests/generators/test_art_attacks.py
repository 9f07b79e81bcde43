"""Every evasion attack of ART: it runs, lowers accuracy, corrects no image, and gets the right inputs."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Examples, Images, Labels
from temper.core.classifier import Classifier
from temper.core.component import Plain, Ref
from temper.core.run import Run
from temper.core.threat_model import Norm, ThreatModel
from temper.generators.art import Art
from temper.generators.art_source import attacks
from temper.generators.art_traits import INNER, TRAITS, UNSUITABLE
from temper.system import backend
from tests.generators import models

MODEL: Any = Ref("model")
DATA: Any = Ref("data")
pytestmark = pytest.mark.skipif(backend.name() == "jax", reason="ART has no classifier for jax")

CHEAP: Mapping[str, Mapping[str, Plain]] = {
    "AutoConjugateGradient": {"eps": 0.2, "max_iter": 4, "nb_random_init": 1},
    "AutoProjectedGradientDescent": {"eps": 0.2, "max_iter": 4, "nb_random_init": 2},
    "BasicIterativeMethod": {"eps": 0.2, "max_iter": 3},
    "BoundaryAttack": {"max_iter": 2, "num_trial": 2, "init_size": 20},
    "DeepFool": {"max_iter": 20, "nb_grads": 3},
    "FastGradientMethod": {"eps": 0.2},
    "HopSkipJump": {"max_iter": 1, "max_eval": 10, "init_eval": 5, "init_size": 20},
    "NewtonFool": {"max_iter": 20, "eta": 0.1},
    "ProjectedGradientDescent": {"eps": 0.2, "max_iter": 3, "num_random_init": 1},
    "RescalingAutoConjugateGradient": {"eps": 0.2, "max_iter": 4, "nb_random_init": 1},
    "SaliencyMapMethod": {"theta": 1.0, "gamma": 0.3},
    "SimBA": {"max_iter": 60, "epsilon": 0.3},
    "SpatialTransformation": {"max_translation": 13, "num_translations": 3},
    "SquareAttack": {"eps": 0.2, "max_iter": 20},
    "TargetedUniversalPerturbation": {"eps": 0.3, "max_iter": 1},
    "UniversalPerturbation": {"eps": 0.3, "max_iter": 1, "attacker": "fgsm"},
    "VirtualAdversarialMethod": {"eps": 1.5, "max_iter": 1, "finite_diff": 1e-3},
}
DEAR: Mapping[str, Mapping[str, Plain]] = {
    "AutoAttack": {"eps": 0.9, "eps_step": 0.3},
    "CarliniL0Method": {"max_iter": 4, "binary_search_steps": 2, "initial_const": 1.0},
    "CarliniL2Method": {"max_iter": 10, "binary_search_steps": 2, "initial_const": 1.0},
    "CarliniLInfMethod": {"max_iter": 5, "initial_const": 0.1},
    "ElasticNet": {"max_iter": 20, "binary_search_steps": 2, "initial_const": 1.0},
    "MomentumIterativeMethod": {"eps": 0.2, "max_iter": 3},
    "PixelAttack": {"th": 5, "max_iter": 3},
    "ProjectedGradientDescentNumpy": {"eps": 0.2, "max_iter": 3},
    "ProjectedGradientDescentPyTorch": {"eps": 0.2, "max_iter": 3},
    "ProjectedGradientDescentTensorFlowV2": {"eps": 0.2, "max_iter": 3},
    "ShadowAttack": {"nb_steps": 20, "batch_size": 4, "learning_rate": 0.5},
    "SignOPTAttack": {"max_iter": 2, "query_limit": 100, "k": 5, "num_trial": 5},
    "ThresholdAttack": {"th": 80, "max_iter": 3, "es": 1},
    "Wasserstein": {"norm": "2", "ball": "2", "eps": 1.0, "max_iter": 3},
    "ZooAttack": {"max_iter": 40, "learning_rate": 0.5, "initial_const": 1.0},
}
UNTRIED = {"CompositeAdversarialAttackPyTorch": "kornia"}
"""Attacks that need a package which the tests do not have."""
OFTEN = (
    "DeepFool",
    "HopSkipJump",
    "ProjectedGradientDescent",
    "SaliencyMapMethod",
    "SpatialTransformation",
    "SquareAttack",
)
"""Attacks of every kind of batch."""
every = [*CHEAP, *(pytest.param(name, marks=pytest.mark.long) for name in DEAR)]


@cache
def digits() -> tuple[Classifier, Images, Labels]:
    """Return one model for all tests: ART's view of it is compiled once."""
    victim, x, y = models.digits()
    x.flags.writeable = False
    return victim, x, y


def art(attack: str, **more: Any) -> Art:
    params = more.pop("params", {**CHEAP, **DEAR}[attack])
    component = Art(model=MODEL, data=DATA, attack=attack, params=params, **more)
    needs = TRAITS[attack].backend
    if needs and needs != backend.name():
        pytest.skip(f"needs KERAS_BACKEND={needs}")
    assert list(component.check()) == []
    return component


def made(component: Art, images: int = 20) -> tuple[Examples, Examples, Any]:
    """Return a component's images for some digits, the digits, and the classifier."""
    victim, x, y = digits()
    x, y = x[:images], y[:images]
    clean = Examples(x=x, y=y, index=np.arange(len(x)))
    found: dict[str, Any] = {"model": victim, "data": clean}
    return (
        component.produce(Run("it", 1, "test", lambda ref: found[str(ref)], lambda _: {}, lambda *_: None)),
        clean,
        victim,
    )


def test_every_attack_of_this_version_is_tested_or_listed() -> None:
    groups = [set(CHEAP), set(DEAR), set(UNTRIED), set(UNSUITABLE)]
    assert set().union(*groups) == set(attacks())
    assert sum(map(len, groups)) == len(attacks()), "an attack in two groups"
    assert set(TRAITS) == set(attacks()) - set(UNSUITABLE)
    for name, package in UNTRIED.items():
        assert importlib.util.find_spec(package) is None, f"{package} is here: try {name}"


@pytest.mark.parametrize("attack", every)
def test_accuracy_under_attack_is_below_that_of_the_clean_images(attack: str) -> None:
    """Misclassified images are corrected only by chance: by a universal perturbation or by noise."""
    adversarial, clean, victim = made(art(attack))
    assert np.isfinite(adversarial.x).all()
    before, after = victim.predict(clean.x) == clean.y, victim.predict(adversarial.x) == clean.y
    assert before.sum() == 16
    assert after.sum() < before.sum()
    by_chance = attack == "ShadowAttack" or attack.endswith("UniversalPerturbation")
    assert by_chance or not (after & ~before).any()


@pytest.mark.parametrize(
    "attack", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.long) for name in {**CHEAP, **DEAR}]
)
def test_the_batch_size_does_not_change_the_images(attack: str) -> None:
    whole, few = made(art(attack))[0], made(replace(art(attack), batch_size=3))[0]
    # Another batch is another order of sums; where an attack takes signs, a pixel of a gradient near 0 may flip.
    assert np.isclose(whole.x, few.x, atol=1e-3).mean() > 0.995


def test_attacks_that_depend_on_the_batch_size_declare_it() -> None:
    component = art("ProjectedGradientDescent", params={"eps": 0.2, "max_iter": 3, "num_random_init": 3})
    assert component.depends_on("batch_size")
    assert not np.isclose(made(component)[0].x, made(replace(component, batch_size=3))[0].x, atol=1e-3).all()
    assert not art("ProjectedGradientDescent").depends_on("batch_size")
    assert not component.depends_on("eps")
    stated = art("ProjectedGradientDescent", params={**component.params, "batch_size": 32})
    assert not stated.depends_on("batch_size")


def test_attacks_whose_steps_scale_with_the_batch_get_one_image_at_a_time() -> None:
    component = art("AutoConjugateGradient", params={"eps": 0.3, "max_iter": 9, "loss_type": "cross_entropy"})
    whole, few = (made(replace(component, batch_size=size))[0].x for size in (500, 3))
    np.testing.assert_array_equal(whole, few)


def test_the_description_names_the_attacks_that_get_all_images_or_probabilities_or_no_labels() -> None:
    def words(text: str) -> list[str]:
        return re.findall(r"\w+", text)

    labels, outputs, batches = re.split("Labels:|Outputs:|Batches:", Art.__doc__ or "")[1:]
    for name, traits in TRAITS.items():
        assert (name in words(labels)) == (traits.reads != "labels"), name
        assert (name in words(outputs.split("UniversalPerturbation with")[0])) == traits.probabilities, name
        assert (name in words(batches.split("share a perturbation")[0])) == (traits.batches == "all"), name
    assert all((name in outputs) >= TRAITS[attack].probabilities for name, attack in INNER.items())


@pytest.mark.parametrize("attack", [name for name in CHEAP if TRAITS[name].reads == "targets"])
def test_targets_are_other_classes_of_the_stream_or_the_least_likely(attack: str) -> None:
    victim, x, y = digits()
    reached = {}
    for how in ("random", "least_likely"):
        component = art(attack, targets=how)
        assert f"towards {how.replace('_', ' ')} targets" in component.step_rule
        streams = [np.random.default_rng(i) for i in range(len(x))]
        reached[how] = component._target_classes(victim, x, y, streams)
        assert (reached[how] != y).all()
    if not TRAITS[attack].shared_target:
        others = np.where(np.arange(10) == y[:, None], np.inf, victim.logits(x))
        np.testing.assert_array_equal(reached["least_likely"], others.argmin(axis=1))
        assert len(set(reached["random"])) > 3
    else:
        assert len(set(reached["random"])) <= 2, "one for all, but for images of this class"


@pytest.mark.parametrize("attack", ["SaliencyMapMethod", "ShadowAttack"])
def test_targeted_attacks_do_not_correct_misclassified_images(attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    victim, x, y = digits()
    right = victim.predict(x) == y
    good, bad = x[right][:1], x[~right]
    labels = np.repeat(y[right][:1], len(bad))
    monkeypatch.setattr(Art, "_generate", lambda self, victim, x, y, stream: np.repeat(good, len(x), axis=0))
    kept = art(attack).craft(victim, bad, labels, np.random.default_rng(0))
    wrong = victim.predict(bad) != labels
    assert wrong.any()
    np.testing.assert_array_equal(kept[wrong], bad[wrong])


def test_attacks_that_read_labels_as_targets_reach_them() -> None:
    component = art("SaliencyMapMethod", targets="least_likely", params={"theta": 1.0, "gamma": 1.0})
    adversarial, clean, victim = made(component)
    aims = component._target_classes(victim, clean.x, clean.y, [])
    assert (victim.predict(adversarial.x) == aims).mean() > 0.8


@pytest.mark.parametrize("attack", ["DeepFool", "NewtonFool", "SpatialTransformation"])
def test_attacks_on_predictions_skip_misclassified_images_unless_labels_are_predicted(attack: str) -> None:
    """They move away from the predicted class, which of a wrong image is often towards the true one."""
    component = art(attack)
    adversarial, clean, victim = made(component)
    wrong = victim.predict(clean.x) != clean.y
    np.testing.assert_array_equal(adversarial.x[wrong], clean.x[wrong])
    moved, *_ = made(replace(component, labels="predicted"))
    assert (moved.x[wrong] != clean.x[wrong]).any(axis=(1, 2, 3)).all()
    assert "away from the model's predictions" in component.step_rule


def by_hand(name: str, x: Images, labels: Any, settings: Mapping[str, Plain]) -> Images:
    """Return ART's images for a Keras model that ends in softmax, without Temper's adapter."""
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier, TensorFlowV2Classifier

    keras, victim = backend.keras(), digits()[0]
    model = keras.Sequential([victim.model, keras.layers.Softmax()])
    common: dict[str, Any] = {"nb_classes": 10, "input_shape": (8, 8, 1), "clip_values": (0.0, 1.0)}
    if backend.name() == "tensorflow":
        loss = keras.losses.CategoricalCrossentropy()
        estimator = TensorFlowV2Classifier(model=model, loss_object=loss, **common)
    else:
        import torch

        estimator = PyTorchClassifier(model, torch.nn.NLLLoss(), channels_first=False, device_type="cpu", **common)
    made: Images = getattr(evasion, name)(estimator, verbose=False, **settings).generate(x, labels)
    return made


def test_newtonfool_equals_art_on_a_softmax_model() -> None:
    adversarial, clean, victim = made(art("NewtonFool"))
    right = victim.predict(clean.x) == clean.y
    expected = by_hand("NewtonFool", clean.x[right], None, CHEAP["NewtonFool"])
    np.testing.assert_allclose(adversarial.x[right], expected, atol=1e-5)


def test_simba_equals_art_on_a_softmax_model() -> None:
    """SimBA samples its order of pixels, except for this one."""
    params = {**CHEAP["SimBA"], "attack": "px", "order": "diag"}
    adversarial, clean, _ = made(art("SimBA", params=params))
    rows = slice(0, 5)
    expected = by_hand("SimBA", clean.x[rows], np.eye(10)[clean.y[rows]], params)
    np.testing.assert_allclose(adversarial.x[rows], expected, atol=1e-5)


@pytest.mark.parametrize(
    "inner", [pytest.param(name, marks=[] if name == "simba" else pytest.mark.long) for name in INNER]
)
def test_universal_perturbations_with_every_attacker(inner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With parameters of its own, since some attacks break none of so few images with ART's defaults."""
    strong = dict({**CHEAP, **DEAR}[INNER[inner]])
    if inner == "carlini_inf":
        strong = {"max_iter": 10, "initial_const": 1.0, "learning_rate": 0.1, "confidence": 1.0}
    settings = Art._settings

    def strengthened(self: Art, name: str) -> dict[str, Any]:
        found = settings(self, name)
        return found | {"attacker_params": found["attacker_params"] | strong}

    monkeypatch.setattr(Art, "_settings", strengthened)
    params = {"eps": 0.3, "max_iter": 1, "attacker": inner, "delta": 0.9}
    adversarial, clean, victim = made(art("UniversalPerturbation", params=params), images=6)
    assert ThreatModel("inf", 0.3).contains(adversarial.x - clean.x).all()
    assert (victim.predict(adversarial.x) == clean.y).sum() < (victim.predict(clean.x) == clean.y).sum()


def test_a_targeted_universal_perturbation_reaches_its_target() -> None:
    """ART passes the targets to its inner attack without `targeted`, which would then move away from them."""
    params = {"eps": 0.4, "max_iter": 2, "attacker": "fgsm"}
    component = art("TargetedUniversalPerturbation", params=params, targets="least_likely")
    assert component._settings("FastGradientMethod")["attacker_params"] == {"targeted": True}
    assert art("UniversalPerturbation")._settings("DeepFool")["attacker_params"] == {"verbose": False}
    adversarial, clean, victim = made(component)
    aims = component._target_classes(victim, clean.x, clean.y, [])
    assert (victim.predict(adversarial.x) == aims).sum() > (victim.predict(clean.x) == aims).sum()


RADII: Mapping[Norm, float] = {"inf": 0.2, 2: 1.0, 1: 4.0}
BALLS = [
    pytest.param(name, norm, marks=pytest.mark.long if name in DEAR else [])
    for name in {**CHEAP, **DEAR}
    for norm in TRAITS[name].norms
    if TRAITS[name].radius
]


@pytest.mark.parametrize(("attack", "norm"), BALLS)
def test_images_from_art_lie_in_the_ball(attack: str, norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    if attack in ("SquareAttack", "AutoAttack") and norm == 2:
        pytest.skip("takes images of at least 10 pixels a side")
    params = {**CHEAP, **DEAR}[attack] | {"eps": RADII[norm]}
    if "norm" in Art(model=MODEL, attack=attack)._values:
        params["norm"] = norm
    if "eps_step" in Art(model=MODEL, attack=attack)._values:
        params["eps_step"] = RADII[norm]
    component = art(attack, params=params)
    assert component.threat == ThreatModel(norm, RADII[norm])
    victim, x, y = digits()
    monkeypatch.setattr(Art, "threat", None)  # craft would have refused what leaves it
    moved = component.craft(victim, x, y, np.random.default_rng(0)) - x
    monkeypatch.undo()
    assert component.threat.contains(moved).all()
    assert np.abs(moved).max() > 0
