"""A fidelity gate by a discriminator, trained on the experiment's data, which compares a mutant with its seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Artefact, Examples, read_json, write_json
from temper.core.classifier import Classifier
from temper.core.component import Component, Range, Ref
from temper.core.display_names import display_name
from temper.core.errors import StageError, UndertrainedModelError
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.generators.regression import gan
from temper.generators.regression.fidelity_gates import Fidelity, Gate
from temper.generators.regression.gan import GANSettings
from temper.generators.regression.pixel_mutations import Pixels, Values
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.compiled_programs import Call, Tensor
from temper.system import backend

# Real images that calibrate the margin; the discriminator must not have seen them.
_HELD_OUT = 2000
_REAL, _SHIFTED = "real", "shifted"


Pairs = Literal["others", "shifted"]


@dataclass(frozen=True, eq=False)
class Discriminator(Artefact):
    """A trained discriminator, and its logits for unseen images, (k,): ``real`` ones, and corrupted versions of each.

    ``losses`` are its training losses, round by round; ``info`` says how it was trained.
    """

    kind: ClassVar[str] = "discriminator"

    network: Any
    logits: Mapping[str, Values]
    losses: tuple[float, ...]
    info: Mapping[str, Any]

    def margin(self, share: float, pairs: Pairs = "others") -> float:
        """Return how far a logit may be below another's so that this share of pairs of real images pass."""
        real = self.logits[_REAL]
        # Each image with the next: k pairs, none with itself.
        second = np.roll(real, 1) if pairs == "others" else self.logits[_SHIFTED]
        # Never negative: a mutant equal to its seed must pass.
        return max(0.0, float(np.quantile(real - second, share)))

    def passing(self, margin: float) -> dict[str, float]:
        """Return the share of each kind of corruption that passes in comparison with the original image."""
        real, corrupted = self.logits[_REAL], self.logits.keys() - {_REAL, _SHIFTED}
        return {name: float((self.logits[name] >= real - margin).mean()) for name in sorted(corrupted)}

    def save(self, folder: Path) -> None:
        self.network.save(folder / "discriminator.keras")
        stored: dict[str, Any] = dict(self.logits)
        np.savez(folder / "logits.npz", **stored)
        write_json(folder / "discriminator.json", {"losses": self.losses, "info": self.info})

    @classmethod
    def load(cls, folder: Path) -> Self:
        network = backend.keras().models.load_model(folder / "discriminator.keras", compile=False, safe_mode=True)
        raw = read_json(folder / "discriminator.json")
        with np.load(folder / "logits.npz") as stored:
            return cls(network, dict(stored), tuple(raw["losses"]), raw["info"])


@dataclass(frozen=True, kw_only=True)
class DiscriminatorSettings(Component):
    """The parameters that a discriminator depends on besides its data."""

    filters: Annotated[int, "channels of the first convolution; each further one doubles them", Range(ge=1)] = 8
    train_steps: Annotated[int, "optimiser steps", Range(ge=1)] = 500
    train_batch_size: Annotated[int, "real images per optimiser step, and as many generated ones", Range(ge=2)] = 64
    learning_rate: Annotated[float, "step size of Adam", Range(gt=0)] = 2e-4
    corrupted: Annotated[
        float, "share of noise, shuffled pixels and negatives among the fake images", Range(ge=0, lt=1)
    ] = 0.25

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "train_steps": 20}


@dataclass(frozen=True, kw_only=True)
class DiscriminatorTraining(Preparation, DiscriminatorSettings):
    """Adversarial training of a generator and a discriminator, of which the discriminator is kept.

    Source: Radford, Metz and Chintala (2016), Unsupervised Representation Learning with Deep Convolutional Generative
    Adversarial Networks; Goodfellow et al. (2014), Generative Adversarial Nets.
    """

    tag = "discriminator_training"
    produces = Discriminator

    data: Annotated[Ref[Examples], "the training images"]

    @property
    def stochastic(self) -> bool:
        return False

    def stream(self, stage: str) -> str:
        return self.tag

    def produce(self, run: Run) -> Discriminator:
        images = run[self.data]
        rng = run.rng("corruptions")
        # Random, since a data set may be sorted by class.
        order = run.rng("split").permutation(len(images))
        held, rest = np.split(order, [min(_HELD_OUT, len(images) // 5)])
        if len(held) < 2:
            raise StageError(f"dcgan: expected more training images, received {len(images)}; use more, or no gate")
        seed = run.framework_seed()
        plan = GANSettings(self.filters, self.train_steps, self.train_batch_size, self.learning_rate, self.corrupted)
        backend.seed(seed)
        network = gan.discriminator(images.shape, self.filters)
        losses = gan.train(network, np.asarray(images.x)[np.sort(rest)], plan, seed, run.progress, run.checkpoint)
        real = np.asarray(images.x[np.sort(held)])
        # One pixel to the left; the last column is repeated.
        shifted = np.concatenate([real[:, :, 1:], real[:, :, -1:]], axis=2)
        shown = {_REAL: real, _SHIFTED: shifted} | gan.corruptions(real, rng)
        logits = {name: compiled_programs.run_all(network, _logits, x)[0] for name, x in shown.items()}
        run.images += self.train_steps * self.train_batch_size
        return Discriminator(network, logits, tuple(losses), asdict(plan) | {"images": len(rest)})


@dataclass(frozen=True, kw_only=True)
class DCGAN(Fidelity, DiscriminatorSettings):
    """A GAN's discriminator, trained once on the training images, compares a mutant with its seed.

    A mutant is faithful if its logit is at least its seed's minus a margin, which is chosen so that ``pass_real`` of
    unseen real images would pass in comparison with another one, or with ``pairs: shifted`` in comparison with
    themselves before a shift by a pixel, which is narrower. If more than ``pass_corrupted`` of noise, of images with
    shuffled pixels, or of negatives pass in comparison with their originals, the gate is rejected.

    Source: DRFuzz, its GAN-based fidelity assurance; Radford, Metz and Chintala (2016), Unsupervised Representation
    Learning with Deep Convolutional Generative Adversarial Networks. Differs: real and generated images are in the
    range of the mutants, logits are compared since sigmoids saturate at 1, there is a margin (``margin: 0`` for none),
    and some of the fake images are noise: the released discriminators, of coloured images, let noise pass. The networks
    are smaller.
    """

    tag = "dcgan"

    margin: Annotated[
        float | None, "how far a mutant's logit may be below its seed's; default: by `pass_real`", Range(ge=0)
    ] = None
    pass_real: Annotated[float, "share of pairs of real images that pass", Range(gt=0, lt=1)] = 0.95
    pairs: Annotated[
        Pairs, "comparison of real images for the margin: with others, or with themselves shifted by a pixel"
    ] = "others"
    pass_corrupted: Annotated[float, "share of noise that may pass", Range(ge=0, le=1)] = 0.05

    def for_smoke(self) -> Self:
        return replace(self, pass_corrupted=1.0)  # a barely trained discriminator lets anything pass

    def preparations(self, model: Ref[Classifier], data: Ref[Examples]) -> Mapping[str, Preparation]:
        return {display_name(self): DiscriminatorTraining.of(self, data=data)}

    def gate(self, run: Run) -> Gate:
        found: Discriminator = run.prepared(display_name(self))
        margin = found.margin(self.pass_real, self.pairs) if self.margin is None else self.margin
        passing = found.passing(margin)
        worst = max(passing, key=lambda name: passing[name])
        if passing[worst] > self.pass_corrupted:
            raise UndertrainedModelError(
                f"dcgan: the discriminator lets {passing[worst]:.0%} of {worst} pass as real images, expected "
                f"{self.pass_corrupted:.0%} at most; train it longer (train_steps), with more filters, or on more "
                "noise "
                "(corrupted), narrow the margin (pairs: shifted), or use another fidelity"
            )
        return _DiscriminatorGate(found.network, margin)


class _DiscriminatorGate(Gate):
    def __init__(self, network: Any, margin: float) -> None:
        self.network, self._margin = network, np.float32(margin)

    def keeps(self, x: Pixels, roots: Pixels, scores: Values, root_scores: Values) -> NDArray[np.bool_]:
        return np.asarray(scores >= root_scores - self._margin)


def _logits(call: Call, x: Tensor) -> tuple[Tensor]:
    return (call(x)[:, 0],)
