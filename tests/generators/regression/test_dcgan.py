"""The discriminator as a gate: calibration, rejection and training."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Examples, Images
from temper.core.checkpoint import Checkpoint
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.core.run import Run
from temper.generators.regression import gan
from temper.generators.regression.dcgan import DCGAN, Discriminator, DiscriminatorTraining
from temper.generators.regression.drfuzz import DRFuzz
from temper.generators.regression.gan import GANSettings
from temper.system import backend
from tests.conftest import stopped_again_and_again
from tests.generators.regression.toys import DATA, MODEL, SIDE, TOGETHER, fuzz, images

TRAIN: Any = Ref("data", part="train")
REAL = np.arange(100, dtype=np.float32)


def made(**logits: Any) -> Discriminator:
    network = gan.discriminator((SIDE, SIDE, 1), 2)
    return Discriminator(network, {"real": REAL} | {name: np.float32(value) for name, value in logits.items()}, (), {})


def run(**inputs: Any) -> Run:
    return Run(
        "it", 1, None, lambda ref: inputs[ref.prepared or ref.stage], lambda ref: {}, lambda done, total, unit: None
    )


def squares(n: int = 1500, side: int = 12) -> Images:
    """Return bright squares of different places on black, which no noise looks like."""
    rng = np.random.default_rng(5)
    x = np.zeros((n, side, side, 1), np.float32)
    for image, (top, left) in zip(x, rng.integers(1, side - 6, (n, 2)), strict=True):
        image[top : top + 5, left : left + 5] = 0.8
    return x


def test_the_margin_lets_real_images_pass_in_comparison_with_others() -> None:
    found = made(noise=REAL - 50, near=REAL - 0.5)
    # 99 of 100 images are one above the one before them, the first 99 below the last.
    assert found.margin(0.5) == 1.0
    assert found.margin(0.001) == 0.0, "no margin forbids the image itself"
    assert found.passing(1.0) == {"noise": 0.0, "near": 1.0}
    assert found.passing(50.0) == {"noise": 1.0, "near": 1.0}


def test_the_margin_from_shifted_images_is_narrower() -> None:
    found = made(noise=REAL - 50, shifted=REAL - np.linspace(0, 1, 100))
    assert found.margin(0.95, "shifted") == pytest.approx(0.95, rel=1e-4)
    assert found.passing(1.0) == {"noise": 0.0}


def test_a_discriminator_that_accepts_noise_is_rejected() -> None:
    fidelity = DCGAN()
    gate = fidelity.gate(run(dcgan=made(noise=REAL - 50, negatives=REAL - 9)))
    assert gate.network is not None
    with pytest.raises(StageError, match=r"lets 100% of negatives pass as real images, expected 5% at most; train"):
        fidelity.gate(run(dcgan=made(noise=REAL - 50, negatives=REAL)))
    lenient = DCGAN(pass_corrupted=1)
    assert lenient.gate(run(**{"dcgan (pass_corrupted 1)": made(noise=REAL)})).network is not None


@pytest.mark.parametrize(("margin", "expected"), [(0.0, [True, True, False]), (0.75, [True, True, True])])
def test_a_mutant_is_compared_with_its_seed(margin: float, expected: list[bool]) -> None:
    fidelity = DCGAN(margin=margin)
    gate = fidelity.gate(run(**{f"dcgan (margin {margin:g})": made(noise=REAL - 50)}))
    nothing = np.zeros((3, 1, 1, 1), np.uint8)
    kept = gate.keeps(nothing, nothing, np.float32([2, 1, 0.5]), np.float32([1, 1, 1]))
    assert kept.tolist() == expected


def test_fuzzers_of_equal_settings_share_one_training() -> None:
    one, two = (
        DRFuzz(**(TOGETHER | {"fidelity": gate})).preparations() for gate in (DCGAN(), DCGAN(margin=1, pass_real=0.9))
    )
    assert list(one.values()) == list(two.values())
    assert list(one.values()) != list(DCGAN(filters=16).preparations(MODEL, DATA).values())
    assert one["dcgan"] == DiscriminatorTraining(data=Ref("data", part="train"))


def test_corruptions_have_their_properties() -> None:
    x = squares(20)
    corrupted = gan.corruptions(x, np.random.default_rng(0))
    assert set(corrupted) == {"noise", "shuffled pixels", "negatives"}
    assert np.array_equal(corrupted["negatives"], 1 - x)
    disorder = corrupted["shuffled pixels"]
    assert np.array_equal(np.sort(disorder.reshape(20, -1)), np.sort(x.reshape(20, -1)))
    assert (disorder != x).any(axis=(1, 2, 3)).all()
    assert all(values.dtype == np.float32 and values.shape == x.shape for values in corrupted.values())


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (9, 13, 2)])
def test_networks_fit_any_shape(shape: tuple[int, int, int]) -> None:
    keras = backend.keras()
    network, generator = gan.discriminator(shape, 4), gan._generator(shape, 4)
    images_made = generator(keras.random.normal((2, 64)))
    assert images_made.shape == (2, *shape)
    assert network(images_made).shape == (2, 1)


def test_generator_and_discriminator_learn_in_one_step() -> None:
    """The discriminator's gradient equals that of training it alone on the generated images."""
    keras = backend.keras()
    x = squares(64)
    backend.seed(0)
    network = gan.discriminator(x.shape[1:], 4)
    pair = gan._pair_class()(gan._generator(x.shape[1:], 4), network, 0.0, 1)
    fake = keras.ops.convert_to_numpy(pair(x, training=True))
    levels = fake * 255
    assert np.abs(levels - np.rint(levels)).max() < 1e-4, "made images have the grey levels of files"
    logits = {name: keras.ops.convert_to_numpy(network(value)) for name, value in (("real", x), ("fake", fake))}
    real, made_up = (np.log1p(np.exp(logits["real"] * sign)).mean() for sign in (-1, 1))
    fooling = np.log1p(np.exp(logits["fake"])).mean()
    tensors = {"x": keras.ops.convert_to_tensor(x), "y_pred": keras.ops.convert_to_tensor(fake)}
    loss = keras.ops.convert_to_numpy(pair.compute_loss(**tensors))
    assert float(loss) == pytest.approx(0.9 * real + 0.1 * made_up + fooling, rel=1e-5)
    before = pair.generator.get_weights()
    pair.compile(optimizer=keras.optimizers.Adam(1e-3))
    pair.fit(x, batch_size=64, verbose=0)
    assert any((a != b).any() for a, b in zip(before, pair.generator.get_weights(), strict=True))


def test_the_discriminator_separates_images_from_noise(tmp_path: Path) -> None:
    x = squares()
    data = Examples(x=x, y=np.zeros(len(x), np.int64), index=np.arange(len(x)))
    preparation = DiscriminatorTraining(data=TRAIN, filters=8, train_steps=256, learning_rate=1e-3)
    found = preparation.produce(run(data=data))
    margin = found.margin(0.95)
    assert max(found.passing(margin).values()) <= 0.05
    assert len(found.losses) == 15, "rounds of the 18 batches that 1200 images give"
    found.save(tmp_path)
    again = Discriminator.load(tmp_path)
    assert again.margin(0.95) == margin
    assert again.passing(margin) == found.passing(margin)
    assert (again.losses, again.info) == (found.losses, dict(found.info))
    real = backend.keras().ops.convert_to_numpy(again.network(x[:8]))
    assert np.allclose(real, backend.keras().ops.convert_to_numpy(found.network(x[:8])))


def test_a_fuzzer_runs_the_discriminator_with_both_versions() -> None:
    keras = backend.keras()
    bright = keras.Sequential([keras.Input((SIDE, SIDE, 1)), keras.layers.GlobalAveragePooling2D()])
    gate = Discriminator(bright, {"real": REAL, "noise": REAL - 50}, (), {})
    found = fuzz(
        DRFuzz(**(TOGETHER | {"mutants": 5000, "fidelity": DCGAN(margin=0.1)})), **{"dcgan (margin 0.1)": gate}
    )
    assert len(found) > 10
    roots = images().x[images().rows_of(found.index)]
    assert (found.x.mean(axis=(1, 2, 3)) >= roots.mean(axis=(1, 2, 3)) - 0.1 - 1e-6).all()
    rates = [count.faithful / count.mutants for count in found.operators if count.mutants]
    assert min(rates) < 0.9


def test_too_few_images_are_rejected() -> None:
    x = squares(6)
    data = Examples(x=x, y=np.zeros(6, np.int64), index=np.arange(6))
    with pytest.raises(StageError, match=re.escape("received 6; use more")):
        DiscriminatorTraining(data=TRAIN).produce(run(data=data))


def test_repeatedly_stopped_training_reaches_the_same_weights(tmp_path: Path) -> None:
    x, plan = squares(200, 8), GANSettings(2, 10, 64, 1e-3, 0.25)

    def trained(checkpoint: Checkpoint | None) -> tuple[list[float], np.ndarray]:
        backend.seed(0)
        network = gan.discriminator(x.shape[1:], 2)
        losses = gan.train(network, x, plan, 1, lambda done, total, unit: None, checkpoint)
        return losses, np.concatenate([weights.ravel() for weights in network.get_weights()])

    losses, expected = trained(None)
    (again, found), stops = stopped_again_and_again(lambda: trained(Checkpoint(tmp_path)))
    assert stops == len(losses) == 4, "after each round of the three batches that 200 images give"
    assert again == losses
    np.testing.assert_array_equal(found, expected)
