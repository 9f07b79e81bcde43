"""Data generator networks: architectures, training, and the network that an image passes through."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from temper.artefacts.class_generators import GeneratorLoss
from temper.artefacts.rankings import NeuronRanking, PixelRanking
from temper.core.artefacts import Examples
from temper.core.checkpoint import Checkpoint
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.core.run import DataOrigin, Run
from temper.core.run import prepared as prepared_by
from temper.generators.dgn import DGN, DGNNetworks
from temper.generators.dgn_networks import Shape, build, resolve
from temper.generators.dgn_training import learning_rate, recompute_batch_statistics
from temper.generators.losses.lrp_loss import LRP
from temper.generators.losses.nce_loss import NCE
from temper.generators.losses.suspiciousness_loss import Suspiciousness
from temper.nn.inspection.units import Probe
from temper.nn.training.training import TrainingSettings, fit_pairs
from temper.system import backend
from tests.conftest import stopped_again_and_again
from tests.generators.models import images, mnist_test, published

MODEL: Any = Ref("model")
DATA: Any = Ref("data")
RANKING: Any = Ref("ranking")
SHAPE = (8, 8, 1)


def parameters(model: Any) -> int:
    return sum(int(np.prod(weights.shape)) for weights in model.trainable_variables)


@pytest.mark.parametrize(("name", "shape", "count"), [("mnist", (28, 28, 1), 175009), ("cifar", (32, 32, 3), 553667)])
def test_the_published_architectures(name: Any, shape: Shape, count: int) -> None:
    network = build("auto", shape, "he", 0)
    assert parameters(network) == count
    assert network.output_shape == (None, *shape)
    assert resolve("auto", shape) == name
    with pytest.raises(StageError, match="received \\(8, 8, 1\\); use auto"):
        resolve(name, SHAPE)


@pytest.mark.parametrize("shape", [(8, 8, 1), (64, 64, 3), (30, 45, 3), (5, 6, 1), (224, 224, 3)])
def test_the_adaptive_architecture_takes_images_of_any_size(shape: Shape) -> None:
    network = build("auto", shape, "he", 0)
    assert network.output_shape == (None, *shape)
    made = backend.keras().ops.convert_to_numpy(network(np.zeros((2, *shape), np.float32)))
    assert made.min() >= 0
    assert made.max() <= 1


def test_initial_weights() -> None:
    first = build("mnist", (28, 28, 1), "legacy", 3).layers[4].get_weights()
    assert first[0].std() == pytest.approx(0.88 * (2 / 3) ** 0.5, rel=0.05)  # a normal cut at two deviations
    assert (first[1] == np.float32(0.1)).all()
    he = build("mnist", (28, 28, 1), "he", 3).layers[4].get_weights()
    assert he[0].std() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.05)
    assert np.array_equal(he[0], build("mnist", (28, 28, 1), "he", 3).layers[4].get_weights()[0])


def test_the_step_size_falls_in_a_staircase() -> None:
    schedule = learning_rate(0.1, "staircase", 10, 0.5)
    assert [pytest.approx(float(schedule(step))) for step in (0, 9, 10, 25)] == [0.1, 0.1, 0.05, 0.025]
    assert learning_rate(0.1, "constant", 10, 0.5) == 0.1


def test_batch_statistics_are_recomputed_on_the_images() -> None:
    keras = backend.keras()
    network = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.BatchNormalization()])
    x = np.random.default_rng(0).normal(3.0, 2.0, (60, 2, 2, 3)).astype(np.float32)
    recompute_batch_statistics(network, x, batch_size=20)
    mean, variance = network.layers[-1].moving_mean, network.layers[-1].moving_variance
    parts = np.split(x, 3)
    to_numpy = keras.ops.convert_to_numpy
    np.testing.assert_allclose(to_numpy(mean), x.mean(axis=(0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(to_numpy(variance), np.mean([p.var(axis=(0, 1, 2)) for p in parts], axis=0), rtol=1e-3)
    assert network.layers[-1].momentum == 0.99


def target() -> Classifier:
    keras = backend.keras()
    backend.seed(1)
    layers = keras.layers
    stack = [keras.Input(SHAPE), layers.Conv2D(3, 3, activation="relu"), layers.Flatten(), layers.Dense(6, "relu")]
    return Classifier(keras.Sequential([*stack, layers.Dense(3)]))


def neurons(model: Classifier) -> NeuronRanking:
    layers = tuple(Probe(model.model).layers)
    chosen = np.array([[0, 5], [2, 4], [1, 8]])
    return NeuronRanking(layers, np.zeros((3, 9)), chosen, np.zeros((3, 9, 0), np.int64))


X, Y = images(60, SHAPE, classes=3)
EXAMPLES = Examples(X, Y, np.arange(100, 160))
PIXELS = PixelRanking(np.random.default_rng(5).normal(size=(3, *SHAPE)))


def surroundings(
    model: Classifier,
    ranking: Any,
    part: Any = None,
    prepared: Any = None,
    data: Examples = EXAMPLES,
    checkpoint: Checkpoint | None = None,
) -> Run:
    known: dict[Any, Any] = {MODEL: model, DATA: data, replace(DATA, part="train"): data, RANKING: ranking}
    known[prepared_by("networks")] = prepared
    origin = DataOrigin(classes=("owl", "bat", "cat"))
    return Run(
        "it", 1, part, known.__getitem__, lambda _: {}, lambda *_: None, checkpoint=checkpoint, origin=lambda _: origin
    )


def dgn(loss: GeneratorLoss, **fields: Any) -> DGN:
    common: dict[str, Any] = {"eps": 0.2, "epochs": 4, "batch_size": 8, "learning_rate": 3e-3}
    return DGN(model=MODEL, data=DATA, loss=loss, **(common | fields))


def learn(generator: DGN, run: Run) -> DGNNetworks:
    return cast("DGNNetworks", generator.preparations()["networks"].produce(run))


LOSSES: list[tuple[GeneratorLoss, Any]] = [
    (LRP(pixels=RANKING, k=5), lambda model: PIXELS),
    (NCE(), lambda model: None),
    (NCE(custom_loss_constant=0.5, clip_in_loss=True), lambda model: None),
    (Suspiciousness(neurons=RANKING), neurons),
]


@pytest.mark.parametrize(("loss", "ranking"), LOSSES, ids=["lrp", "nce", "nce_clipped", "suspiciousness"])
def test_the_loss_falls_and_the_target_is_unchanged(loss: GeneratorLoss, ranking: Any, tmp_path: Path) -> None:
    model = target()
    before = [weights.copy() for weights in model.model.get_weights()]
    run = surroundings(model, ranking(model))
    learnt = learn(dgn(loss), run)
    assert run.images == 240
    assert all(losses[-1] < losses[0] for losses in learnt.losses.values())
    assert all(map(np.array_equal, before, model.model.get_weights()))
    assert all(variable.trainable for variable in model.model.trainable_variables)
    made = learnt.perturb(X, Y)
    assert 0.1 < np.abs(made - X).max() <= 0.2 + 1e-6
    learnt.save(tmp_path)
    again = DGNNetworks.load(tmp_path)
    assert again.losses == learnt.losses
    assert again.info == {"loss": loss.tag, "architecture": "adaptive", "class_names": ["owl", "bat", "cat"]}
    np.testing.assert_allclose(again.perturb(X, Y), made, atol=1e-6)


def test_each_class_is_trained_independently_of_those_before() -> None:
    model, loss = target(), LRP(pixels=RANKING, k=5)
    among_three = learn(dgn(loss), surroundings(model, PIXELS)).networks[2].get_weights()
    last = Examples(X[Y == 2], Y[Y == 2], np.flatnonzero(Y == 2))
    alone = learn(dgn(loss), surroundings(model, PIXELS, data=last)).networks[2].get_weights()
    for one, two in zip(among_three, alone, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)


def test_repeatedly_stopped_training_reaches_the_same_weights(tmp_path: Path) -> None:
    model = target()
    expected = learn(dgn(NCE()), surroundings(model, None))
    found, stops = stopped_again_and_again(
        lambda: learn(dgn(NCE()), surroundings(model, None, checkpoint=Checkpoint(tmp_path)))
    )
    assert stops == 3 * (4 + 1)  # after each epoch of the three networks, and after each network
    assert found.losses == expected.losses
    for label, network in found.networks.items():
        for one, two in zip(network.get_weights(), expected.networks[label].get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)


def test_the_lrp_loss_reaches_its_minimum() -> None:
    """Its minimum is known: x - eps at the relevant pixels and x + eps at the others, within [0, 1]."""
    rng = np.random.default_rng(2)
    x = np.clip(0.5 + 0.05 * rng.standard_normal((64, *SHAPE)), 0, 1).astype(np.float32)
    flat = Examples(x, np.zeros(64, np.int64), np.arange(64))
    loss = LRP(pixels=RANKING, k=10)
    run = surroundings(target(), PIXELS, data=flat)
    learnt = learn(dgn(loss, epochs=100, learning_rate=1e-2, batch_size=32), run)
    signs = 1 - 2 * loss.constants(run, 0)["relevant"]
    moved = learnt.perturb(x, flat.y) - x
    assert np.abs(moved - 0.2 * signs).mean() < 0.04
    assert (np.sign(moved) == signs).mean() > 0.98


def test_the_selector_and_the_images_kept() -> None:
    model = target()
    learnt = learn(dgn(NCE(), epochs=1), surroundings(model, None))
    run = surroundings(model, None, "test", learnt)
    own = dgn(NCE()).produce(run)
    np.testing.assert_array_equal(own.x, learnt.perturb(X, Y))
    assert (own.info["labels"], own.info["norm"], own.info["eps"]) == ("true", "inf", 0.2)
    assert np.array_equal(own.index, EXAMPLES.index)
    given = dgn(NCE(), selector="predicted_label").produce(run)
    np.testing.assert_array_equal(given.x, learnt.perturb(X, model.predict(X)))
    assert given.info["selector"] == "predicted_label"
    after = model.predict(own.x)
    changed = dgn(NCE(), keep="changed").produce(run)
    assert np.array_equal(changed.index, EXAMPLES.index[after != model.predict(X)])
    wrong = dgn(NCE(), keep="misclassified").produce(run)
    assert np.array_equal(wrong.index, EXAMPLES.index[after != Y])
    assert np.array_equal(wrong.y, Y[after != Y])


def test_without_clipping_the_output_is_the_networks() -> None:
    model = target()
    learnt = learn(dgn(NCE(), epochs=1, clipping=False), surroundings(model, None))
    raw = backend.keras().ops.convert_to_numpy(learnt.networks[0](X[Y == 0], training=False))
    np.testing.assert_allclose(learnt.perturb(X[Y == 0], Y[Y == 0]), raw, atol=1e-5)
    assert "eps" not in dgn(NCE(), clipping=False).produce(surroundings(model, None, "test", learnt)).info
    assert [field for field, _ in dgn(NCE(clip_in_loss=True), clipping=False).check()] == ["clipping"]


def test_a_class_without_a_network_is_reported() -> None:
    model, few = target(), Examples(X[Y != 1], Y[Y != 1], np.flatnonzero(Y != 1))
    learnt = learn(dgn(NCE(), epochs=1), surroundings(model, None, data=few))
    with pytest.raises(StageError, match="class bat has no network"):
        learnt.perturb(X, Y)
    with pytest.raises(StageError, match="class 1 has no network"):
        replace(learnt, info={}).perturb(X, Y)


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(
    ("tag", "epochs", "left"), [pytest.param("lrp", 3, 0.25, marks=pytest.mark.long), ("nce", 2, 0.05)]
)
def test_a_few_epochs_break_the_published_mlp_and_harden_another_model(
    shared: Path, tag: str, epochs: int, left: float
) -> None:
    """DeepCustom trains on 60,000 images for 150 and 100 epochs; here few steps of ten times the size do.

    Its networks trained on such images reach 98.91 % (lrp) and 99.94 % (nce) on what they were trained against.
    """
    from temper.localisation.pixel_relevance import Relevance

    model, (x, y) = published(shared, "mnist_5x30"), mnist_test(shared)
    with np.load(shared / "data" / "mnist.npz") as file:
        train = (file["x_train"][:10000, ..., None] / np.float32(255)).astype(np.float32)
        labels = file["y_train"][:10000].astype(np.int64)
    data = Examples(train, labels, np.arange(10000))
    ranking = Relevance(model=MODEL, data=DATA).produce(surroundings(model, None, data=data))
    loss = LRP(pixels=RANKING) if tag == "lrp" else NCE()
    generator = DGN(model=MODEL, data=DATA, loss=loss, eps=0.3, epochs=epochs, batch_size=50, learning_rate=1e-3)
    learnt = learn(generator, surroundings(model, ranking, data=data))
    made = learnt.perturb(x, y)
    assert np.abs(made - x).max() <= 0.3 + 1e-6
    assert (model.predict(made) == y).mean() <= left
    backend.seed(1)
    hardened = backend.keras().models.clone_model(model.model)
    settings = TrainingSettings(epochs=10, batch_size=100, learning_rate=1e-3)
    fit_pairs(hardened, train, learnt.perturb(train, labels), labels, settings, ratio=0.5, seed=1)
    assert (Classifier(hardened).predict(made) == y).mean() >= 0.97
