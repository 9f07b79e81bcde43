"""FGSM, BIM and PGD: closed forms on a linear model, identities, and agreement with independent libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.run import Run
from temper.core.threat_model import Norm, distance
from temper.generators.fgsm_bim_pgd import BIM, FGSM, PGD, GradientAttack
from temper.system import backend
from tests.generators.models import images, linear, mnist_test, published, small

MODEL: Any = Ref("target")
RNG = np.random.default_rng
RADII: list[tuple[Norm, float]] = [("inf", 0.1), (2, 0.8), (1, 5.0)]


def gradient_of(weights: Any, x: Any, y: Any) -> Any:
    logits = x.reshape(len(x), -1) @ weights
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    return ((shares - np.eye(weights.shape[1])[y]) @ weights.T).reshape(x.shape)


@pytest.mark.parametrize("loss", ["margin", "cross_entropy"])
def test_fgsm_on_a_linear_model(loss: Any) -> None:
    victim, weights = linear()
    x, y = images(50, (4, 4, 1), classes=3)
    expected = np.clip(x + 0.2 * np.sign(gradient_of(weights, x, y)), 0, 1)
    made = FGSM(model=MODEL, eps=0.2, loss=loss).craft(victim, x, y, RNG(0))
    np.testing.assert_allclose(made, expected, atol=1e-6)


@pytest.mark.parametrize(("norm", "eps"), RADII[1:])
def test_fast_gradient_method_in_other_norms(norm: Norm, eps: float) -> None:
    victim, weights = linear()
    x, y = images(50, (4, 4, 1), classes=3)
    gradient = gradient_of(weights, x, y)
    expected = np.clip(x + eps * gradient / distance(gradient, norm)[:, None, None, None], 0, 1)
    made = FGSM(model=MODEL, eps=eps, norm=norm).craft(victim, x, y, RNG(0))
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_labels_may_be_the_models_predictions() -> None:
    victim, weights = linear()
    x, y = images(50, (4, 4, 1), classes=3)
    expected = np.clip(x + 0.2 * np.sign(gradient_of(weights, x, victim.predict(x))), 0, 1)
    made = FGSM(model=MODEL, eps=0.2, labels="predicted").craft(victim, x, y, RNG(0))
    np.testing.assert_allclose(made, expected, atol=1e-6)


@pytest.mark.parametrize(("norm", "eps"), RADII)
def test_one_step_of_length_eps_is_fgsm(norm: Norm, eps: float) -> None:
    victim, (x, y) = small(), images(20)
    fgsm = FGSM(model=MODEL, eps=eps, norm=norm).craft(victim, x, y, RNG(0))
    bim = BIM(model=MODEL, eps=eps, norm=norm, eps_step=eps, max_iter=1).craft(victim, x, y, RNG(0))
    pgd = PGD(model=MODEL, eps=eps, norm=norm, eps_step=eps, max_iter=1, num_random_init=0)
    assert np.array_equal(bim, fgsm)
    assert np.array_equal(pgd.craft(victim, x, y, RNG(0)), fgsm)


@pytest.mark.parametrize("attack", ["bim", "pgd"])
def test_pgd_without_random_start_steps_as_written(attack: str) -> None:
    victim, (x, y) = small(convolution=True), images(20)
    expected = x
    for _ in range(7):
        moved = expected + np.float32(0.03) * np.sign(victim.loss_gradient(expected, y))
        expected = np.clip(np.clip(moved, x - np.float32(0.1), x + np.float32(0.1)), 0, 1)
    common: dict[str, Any] = {"model": MODEL, "eps": 0.1, "eps_step": 0.03, "max_iter": 7}
    made = BIM(**common) if attack == "bim" else PGD(**common, num_random_init=0)
    close = np.isclose(made.craft(victim, x, y, RNG(0)), expected, atol=1e-5)
    assert close.mean() > 0.999


@pytest.mark.parametrize(("norm", "eps"), RADII)
def test_more_starts_and_steps_never_break_fewer_images(norm: Norm, eps: float) -> None:
    victim, (x, _) = small(), images(150)
    y = victim.predict(x)
    common: dict[str, Any] = {"model": MODEL, "eps": eps, "norm": norm, "eps_step": eps / 4, "max_iter": 3}
    one = PGD(**common, num_random_init=1).craft(victim, x, y, RNG(5))
    five = PGD(**common, num_random_init=5).craft(victim, x, y, RNG(5))
    broken_by_one, broken_by_five = victim.predict(one) != y, victim.predict(five) != y
    assert 0 < broken_by_one.sum() < broken_by_five.sum()
    assert broken_by_five[broken_by_one].all()
    assert np.array_equal(five[broken_by_one], one[broken_by_one])
    assert (distance(five - x, norm) <= eps * (1 + 1e-5)).all()


def test_the_seed_determines_the_images() -> None:
    victim, (x, y) = small(), images(30)
    attack = PGD(model=MODEL, eps=0.1, eps_step=0.02, max_iter=3, num_random_init=3)
    first = attack.craft(victim, x, y, RNG(1))
    assert np.array_equal(first, attack.craft(victim, x, y, RNG(1)))
    assert not np.array_equal(first, attack.craft(victim, x, y, RNG(2)))


def test_scaling_the_logits_does_not_weaken_the_attack() -> None:
    """The same decisions with logits 1000 times as large: cross-entropy in float32 loses its gradient, margin does not."""
    victim, (x, _) = small(), images(200)
    y = victim.predict(x)
    plain = FGSM(model=MODEL, eps=0.1).craft(victim, x, y, RNG(0))
    left = (victim.predict(plain) == y).mean()
    weights = victim.model.get_weights()
    victim.model.set_weights([*weights[:-2], 1000 * weights[-2], 1000 * weights[-1]])
    scaled = FGSM(model=MODEL, eps=0.1).craft(victim, x, y, RNG(0))
    masked = FGSM(model=MODEL, eps=0.1, loss="cross_entropy").craft(victim, x, y, RNG(0))
    assert abs((victim.predict(scaled) == y).mean() - left) < 0.08
    assert (victim.predict(masked) == y).mean() > left + 0.5


def faults(attack: GradientAttack) -> list[tuple[str, str]]:
    return list(attack.check())


def test_check_and_step_rule() -> None:
    published = BIM(model=MODEL, eps=0.3, eps_step=0.01, max_iter=20)
    assert faults(published) == []
    assert published.step_rule == "20 x 0.01 along the margin gradient, no random start; reaches 0.2 of eps 0.3"
    restarts = PGD(model=MODEL, eps=0.3, eps_step=0.4, max_iter=20, num_random_init=10)
    assert faults(restarts) == []
    assert restarts.step_rule == "20 x 0.4 along the margin gradient, 10 random starts; steps longer than eps 0.3"
    assert [field for field, _ in faults(BIM(model=MODEL, eps=0.3, eps_step=0.7, max_iter=2))] == ["eps_step"]
    assert faults(FGSM(model=MODEL, eps=8)) == [
        ("eps", "expected at most 1, the range of a pixel, received 8; write 8/255 for 8")
    ]
    assert faults(FGSM(model=MODEL, eps=8, norm=2)) == []


def test_only_random_starts_make_an_attack_stochastic() -> None:
    common: dict[str, Any] = {"model": MODEL, "eps": 0.3, "eps_step": 0.01, "max_iter": 20}
    assert not FGSM(model=MODEL, eps=0.3).stochastic
    assert not BIM(**common).stochastic
    assert not PGD(**common, num_random_init=0).stochastic
    assert PGD(**common).stochastic


def accuracy(victim: Any, attack: GradientAttack, x: np.ndarray, y: np.ndarray) -> float:
    batches = [slice(s, s + 500) for s in range(0, len(x), 500)]
    made = np.concatenate([attack.craft(victim, x[b], y[b], RNG(0)) for b in batches])
    return float((victim.predict(made) == y).mean())


@pytest.mark.shared
def test_measured_accuracies_of_the_published_mlp(shared: Path) -> None:
    """Source: accuracies measured with ART 1.20.1 on the same weights; it computes cross-entropy in float32."""
    victim, (x, y) = published(shared, "mnist_5x30"), mnist_test(shared)
    assert (victim.predict(x) == y).mean() == 0.9656
    common: dict[str, Any] = {"model": MODEL, "eps": 0.3, "loss": "cross_entropy"}
    assert accuracy(victim, FGSM(**common), x, y) == pytest.approx(0.0137, abs=0.001)
    assert accuracy(victim, FGSM(**common, labels="predicted"), x, y) == pytest.approx(0.0273, abs=0.001)
    pgd = PGD(**common, eps_step=0.01, max_iter=20, num_random_init=0, labels="predicted")
    assert accuracy(victim, pgd, x, y) == pytest.approx(0.0232, abs=0.002)
    assert accuracy(victim, FGSM(model=MODEL, eps=0.3), x, y) < 0.005


@pytest.mark.shared
@pytest.mark.skipif(backend.name() != "tensorflow", reason="compares with ART's TensorFlow classifier")
def test_agrees_with_art_on_the_published_mlp(shared: Path) -> None:
    from art.attacks.evasion import BasicIterativeMethod, FastGradientMethod
    from art.estimators.classification import TensorFlowV2Classifier

    victim, (x, y) = published(shared, "mnist_5x30"), mnist_test(shared)
    x, y = x[:500], y[:500]
    loss = backend.keras().losses.CategoricalCrossentropy(from_logits=True)
    art = TensorFlowV2Classifier(
        victim.model, nb_classes=10, input_shape=(28, 28, 1), loss_object=loss, clip_values=(0, 1)
    )
    common: dict[str, Any] = {"model": MODEL, "eps": 0.3, "loss": "cross_entropy"}
    pairs = [
        (FGSM(**common), FastGradientMethod(art, eps=0.3, batch_size=500)),
        (
            BIM(**common, eps_step=0.05, max_iter=10),
            BasicIterativeMethod(art, eps=0.3, eps_step=0.05, max_iter=10, batch_size=500, verbose=False),
        ),
    ]
    powers = np.exp(victim.logits(x).astype(np.float64))
    # Nearer to 1 the rounding of the softmax decides the sign of some pixels' gradients, and steps add it up.
    unsure = powers[np.arange(500), y] / powers.sum(axis=1) < 0.999
    assert unsure.sum() > 100
    for ours, theirs in pairs:
        mine, other = ours.craft(victim, x, y, RNG(0)), theirs.generate(x, y)
        same = np.isclose(mine, other, atol=1e-5).mean(axis=(1, 2, 3)) > 0.99
        assert same[unsure].mean() > 0.99, (ours.tag, same[unsure].mean())
        assert same.mean() > 0.9, (ours.tag, same.mean())
        assert abs((victim.predict(mine) == y).mean() - (victim.predict(other) == y).mean()) <= 0.01


@pytest.mark.shared
@pytest.mark.slow
def test_agrees_with_foolbox_on_the_published_mlp(shared: Path) -> None:
    foolbox = pytest.importorskip("foolbox")
    torch = pytest.importorskip("torch")
    victim, (x, y) = published(shared, "mnist_5x30"), mnist_test(shared)
    x, y = x[:1000], y[:1000]
    weights = [torch.tensor(w) for w in victim.model.get_weights()]
    layers: list[Any] = [torch.nn.Flatten()]
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        layer = torch.nn.Linear(*kernel.shape)
        layer.weight.data, layer.bias.data = kernel.T.contiguous(), bias
        layers += [layer, torch.nn.ReLU()]
    twin = foolbox.PyTorchModel(torch.nn.Sequential(*layers[:-1]).eval(), bounds=(0, 1), device="cpu")
    given = torch.tensor(x), torch.tensor(y)
    common: dict[str, Any] = {"model": MODEL, "eps": 0.1, "loss": "cross_entropy"}
    _, fgsm, _ = foolbox.attacks.FGSM(random_start=False)(twin, *given, epsilons=0.1)
    mine = FGSM(**common).craft(victim, x, y, RNG(0))
    same = np.isclose(mine, fgsm.numpy(), atol=1e-5).mean(axis=(1, 2, 3)) > 0.99
    assert same.mean() > 0.97
    attack = foolbox.attacks.LinfPGD(abs_stepsize=0.01, steps=40, random_start=True)
    _, pgd, _ = attack(twin, *given, epsilons=0.1)
    ours = PGD(**common, eps_step=0.01, max_iter=40).craft(victim, x, y, RNG(0))
    assert abs((victim.predict(ours) == y).mean() - (victim.predict(pgd.numpy()) == y).mean()) < 0.02


@pytest.mark.parametrize(("rounds", "said"), [(True, 1), (False, 0)])
def test_an_attack_without_a_gradient_is_reported_and_changes_nothing(rounds: bool, said: int) -> None:
    keras = backend.keras()
    inputs = keras.Input((4, 4, 1))
    hidden = keras.ops.round(4 * inputs) if rounds else keras.ops.tanh(inputs)
    victim = Classifier(keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(hidden))))
    x, y = images(5, (4, 4, 1), classes=3)
    loaded: dict[Any, Any] = {MODEL: victim, Ref("data"): Examples(x=x, y=y, index=np.arange(5))}
    run = Run("a", 0, "test", loaded.__getitem__, lambda _: {}, lambda *_: None)
    attack = BIM(model=MODEL, data=Ref("data"), eps=0.1, eps_step=0.05, max_iter=2)
    made = attack.produce(run)
    attack.review(made, run)
    assert (np.abs(made.x - x).max() == 0) == rounds
    assert len([text for text in run.remarks if "gradient of target is exactly 0 for each of 5 images" in text]) == said


@pytest.mark.parametrize("scale", [1e6, 1e12, 1e30])
def test_logits_of_any_size_have_the_gradient_of_their_margin(scale: float) -> None:
    victim, weights = linear()
    x, _y = images(20, (4, 4, 1), classes=3)
    expected = FGSM(model=MODEL, eps=0.1).craft(victim, x, victim.predict(x), RNG(0))
    victim.model.set_weights([weights * np.float32(scale), np.zeros(3, np.float32)])
    made = FGSM(model=MODEL, eps=0.1).craft(victim, x, victim.predict(x), RNG(0))
    moved = np.abs(made - x).max(axis=(1, 2, 3))
    np.testing.assert_allclose(moved, 0.1, atol=1e-6)
    # The strongest rival alone counts where the logits are far apart.
    assert (np.sign(made - x) == np.sign(expected - x)).mean() > 0.8
