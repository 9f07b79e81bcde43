"""A generative adversarial network: a generator of images and its discriminator, trained in one program."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from temper.core.artefacts import Images
from temper.core.checkpoint import Checkpoint
from temper.nn.training import training
from temper.nn.training.training_state import TrainingState
from temper.system import backend

Shape = tuple[int, int, int]

# Pixels at which convolutions stop, as in DCGAN.
_SMALLEST_SIDE = 4
_KERNEL = 4
# Steps between checkpoints.
_ROUND = 128
# Numbers that the generator makes an image from.
_CODE = 64
# Adam's beta_1 as in DCGAN, section 4.
_MOMENTUM = 0.5
_LEVELS = 255
_SMOOTHING = 0.1
"""The fake share in the labels of real images: one-sided label smoothing."""


@dataclass(frozen=True)
class GANSettings:
    """The training settings of a pair."""

    filters: int
    steps: int
    batch_size: int
    learning_rate: float
    corrupted: float


def discriminator(shape: Shape, filters: int) -> Any:
    """Return a new Keras model from images (n, h, w, c) in [0, 1] to one logit each, (n, 1): above 0 for real.

    Convolutions of stride 2 with ELU, each with twice the filters of the one before, down to 4 pixels or less.

    Source: Radford, Metz and Chintala (2016), Unsupervised Representation Learning with Deep Convolutional Generative
    Adversarial Networks.
    Differs: ELU for leaky ReLU, and no batch normalisation, so that an image's score does not depend on others.
    """
    keras = backend.keras()
    layers = keras.layers
    stack = [keras.Input(shape), layers.Rescaling(2.0, offset=-1.0)]
    for depth in range(_halvings(shape)):
        stack += [layers.Conv2D(filters * 2**depth, _KERNEL, strides=2, padding="same"), layers.ELU()]
    return keras.Sequential([*stack, layers.Flatten(), layers.Dense(1)])


def train(
    network: Any,
    x: Images,
    plan: GANSettings,
    seed: int,
    progress: Callable[[int, int, str], None],
    checkpoint: Checkpoint | None = None,
) -> list[float]:
    """Train a discriminator in place against a new generator; return the mean loss of each round of steps.

    The result does not depend on whether it was interrupted and resumed from the checkpoint.

    Source: Goodfellow et al. (2014), Generative Adversarial Nets; label smoothing: Salimans et al. (2016), Improved
    Techniques for Training GANs.

    Raises:
        StageError: the loss is no longer finite.
        Stopped: the process was asked to stop; the checkpoint holds the state to resume from.
    """
    keras = backend.keras()
    backend.seed(seed)
    pair = _pair_class()(_generator(x.shape[1:], plan.filters), network, plan.corrupted, seed)
    batch_size = min(plan.batch_size, len(x))
    # A round has no image twice.
    round_steps = min(_ROUND, len(x) // batch_size, plan.steps)
    pair.compile(
        optimizer=keras.optimizers.Adam(plan.learning_rate, beta_1=_MOMENTUM),
        steps_per_execution=training.steps_per_call(round_steps * batch_size, batch_size),
        jit_compile=backend.name() == "jax",
    )
    pair.optimizer.build(pair.trainable_variables)
    rng, rounds = np.random.default_rng(seed), math.ceil(plan.steps / round_steps)
    state = TrainingState(pair, checkpoint, rng)
    losses, _ = state.restore()
    for done in range(len(losses), rounds):
        rows = rng.choice(len(x), size=round_steps * batch_size, replace=False)
        history = pair.fit(x[rows], batch_size=batch_size, shuffle=False, verbose=0).history
        losses.append(training.finite(history["loss"][-1], done))
        progress((done + 1) * round_steps, rounds * round_steps, "steps")
        if state.due:
            state.save(losses, 0)
    return losses


def corruptions(x: Images, rng: np.random.Generator) -> dict[str, Images]:
    """Return corrupted versions of images (n, h, w, c): noise, shuffled pixels and negatives."""
    n, height, width, channels = x.shape
    order = rng.random((n, height * width, 1)).argsort(axis=1)
    shuffled = np.take_along_axis(x.reshape(n, -1, channels), order, axis=1).reshape(x.shape)
    return {"noise": rng.random(x.shape, np.float32), "shuffled pixels": shuffled, "negatives": 1 - x}


def _halvings(shape: Shape) -> int:
    return max(1, math.ceil(math.log2(min(shape[:2]) / _SMALLEST_SIDE)))


def _generator(shape: Shape, filters: int) -> Any:
    """Return a new model from codes (n, 64) to images (n, h, w, c) in [0, 1]."""
    keras = backend.keras()
    layers = keras.layers
    height, width, channels = shape
    depth = _halvings(shape)
    step = 2**depth
    rows, columns, widest = -(-height // step), -(-width // step), filters * 2 ** (depth - 1)
    stack = [
        keras.Input((_CODE,)),
        layers.Dense(rows * columns * widest, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Reshape((rows, columns, widest)),
    ]
    for level in reversed(range(depth - 1)):
        stack += [
            layers.Conv2DTranspose(filters * 2**level, _KERNEL, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
    stack.append(layers.Conv2DTranspose(channels, _KERNEL, strides=2, padding="same", activation="sigmoid"))
    surplus = (0, rows * step - height), (0, columns * step - width)
    return keras.Sequential([*stack, layers.Cropping2D(surplus)])


@cache
def _pair_class() -> Any:
    keras = backend.keras()
    ops = keras.ops

    class Pair(keras.Model):  # type: ignore[misc, name-defined]
        """A generator and a discriminator that learn in the same step."""

        def __init__(self, generator: Any, network: Any, corrupted: float, seed: int) -> None:
            super().__init__()
            self.generator, self.network, self.corrupted = generator, network, corrupted
            self.seeds = keras.random.SeedGenerator(seed)
            self.built = True

        def call(self, x: Any, training: bool = False) -> Any:
            made = self.generator(keras.random.normal((ops.shape(x)[0], _CODE), seed=self.seeds), training=training)
            # Rounded to grey levels, since others would identify fakes at once; gradients pass straight through.
            return made + ops.stop_gradient(ops.round(made * _LEVELS) / _LEVELS - made)

        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            n = ops.shape(x)[0]
            # The generated images twice: once without a gradient for the discriminator, once for the generator.
            images = [x, ops.stop_gradient(y_pred), y_pred, *([self._corrupted(x)] if self.corrupted else [])]
            logits = self.network(ops.concatenate(images))
            real, kept, learning, corrupted_logits = (
                logits[:n],
                logits[n : 2 * n],
                logits[2 * n : 3 * n],
                logits[3 * n :],
            )
            fake = ops.mean(ops.softplus(kept))
            if self.corrupted:
                fake = (1 - self.corrupted) * fake + self.corrupted * ops.mean(ops.softplus(corrupted_logits))
            # Equal in value: the discriminator's gradients cancel out, the generator's do not.
            fooled = ops.mean(ops.softplus(-learning)) - ops.mean(ops.softplus(-kept))
            # Label smoothing keeps the logits of real images close together, so that the margin is narrow.
            sure = (1 - _SMOOTHING) * ops.mean(ops.softplus(-real)) + _SMOOTHING * ops.mean(ops.softplus(real))
            return sure + fake + fooled

        def _corrupted(self, x: Any) -> Any:
            """Return noise, images with shuffled pixels, and negatives, half a batch of each."""
            part = x[: ops.shape(x)[0] // 2]
            noise = keras.random.uniform(ops.shape(part), seed=self.seeds)
            pixels = ops.reshape(part, (-1, part.shape[1] * part.shape[2], part.shape[3]))
            shuffled = ops.reshape(keras.random.shuffle(pixels, axis=1, seed=self.seeds), ops.shape(part))
            return ops.concatenate([noise, shuffled, 1 - part])

    return Pair
