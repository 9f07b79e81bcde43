"""Random perturbations: the controls that every attack must beat."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from temper.core.artefacts import Images, Labels
from temper.core.attack import Attack
from temper.core.classifier import Classifier
from temper.core.component import Range
from temper.core.threat_model import ThreatModel
from temper.generators.norm_balls import uniform_in_ball


@dataclass(frozen=True, kw_only=True)
class Noise(Attack):
    """An attack that does not query the model: one random draw for each image."""

    @property
    def step_rule(self) -> str:
        return "one random draw"

    def check(self) -> Iterator[tuple[str, str]]:
        if self.labels != "true":
            yield "labels", "noise does not use labels; remove `labels`"

    @abstractmethod
    def disturbance(self, shape: tuple[int, ...], rng: np.random.Generator) -> Images:
        """Return what is added to images of ``shape`` (n, h, w, c), float32."""

    def perturb(self, victim: Classifier, x: Images, y: Labels, rng: np.random.Generator) -> Images:
        return x + self.disturbance(x.shape, rng)


@dataclass(frozen=True, kw_only=True)
class UniformNoise(Noise):
    """Uniform noise in the L-inf ball.

    x' = clip(x + u, 0, 1), u_i ~ U(-eps, eps) independently.

    Source: Madry, Makelov, Schmidt, Tsipras and Vladu (2018), Towards Deep Learning Models Resistant to Adversarial
    Attacks, section 4 (the starting points of PGD).
    """

    tag = "uniform_noise"

    eps: Annotated[float, "L-inf radius of the perturbation, in input units", Range(gt=0, le=1)]

    @property
    def threat(self) -> ThreatModel:
        return ThreatModel("inf", self.eps)

    def disturbance(self, shape: tuple[int, ...], rng: np.random.Generator) -> Images:
        return uniform_in_ball(rng, shape, "inf", self.eps)


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Noise):
    """Gaussian noise, clipped to an L-inf radius if one is given.

    x' = clip(x + clip(g, -eps, eps), 0, 1), g_i ~ N(0, std^2) independently.

    Source: Hendrycks and Dietterich (2019), Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations, section 4 (Gaussian noise).
    """

    tag = "gaussian_noise"

    std: Annotated[float, "standard deviation of the noise, in input units", Range(gt=0, le=1)]
    eps: Annotated[float | None, "L-inf radius that the noise is clipped to; default: none", Range(gt=0, le=1)] = None

    @property
    def threat(self) -> ThreatModel | None:
        return None if self.eps is None else ThreatModel("inf", self.eps)

    def disturbance(self, shape: tuple[int, ...], rng: np.random.Generator) -> Images:
        noise = rng.standard_normal(shape, np.float32) * np.float32(self.std)
        return noise if self.eps is None else np.clip(noise, -np.float32(self.eps), np.float32(self.eps))
