"""Noise: inside its ball, distributed as written, and blind to the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.component import Ref
from temper.core.threat_model import ThreatModel
from temper.generators.fgsm_bim_pgd import FGSM
from temper.generators.random_noise import GaussianNoise, UniformNoise
from tests.generators.models import images, linear, small

MODEL: Any = Ref("target")


def grey(n: int = 40) -> np.ndarray:
    return np.full((n, 6, 6, 3), 0.5, np.float32)


def test_uniform_noise_fills_its_ball_evenly() -> None:
    noise = UniformNoise(model=MODEL, eps=0.2).craft(small(), grey(), np.zeros(40, np.int64), np.random.default_rng(0))
    flat = (noise - 0.5).ravel()
    assert np.abs(flat).max() <= 0.2 + 1e-6
    np.testing.assert_allclose(np.quantile(flat, [0.25, 0.5, 0.75]), [-0.1, 0, 0.1], atol=0.01)


def test_gaussian_noise_has_its_deviation_and_may_be_clipped() -> None:
    victim, y = small(), np.zeros(40, np.int64)
    free = GaussianNoise(model=MODEL, std=0.1)
    assert free.threat is None
    assert (free.craft(victim, grey(), y, np.random.default_rng(0)) - 0.5).std() == pytest.approx(0.1, rel=0.05)
    cut = GaussianNoise(model=MODEL, std=0.1, eps=0.05)
    assert cut.threat == ThreatModel("inf", 0.05)
    made = cut.craft(victim, grey(), y, np.random.default_rng(0)) - 0.5
    assert np.abs(made).max() == pytest.approx(0.05, abs=1e-6)


def test_pixels_stay_in_range() -> None:
    x, y = images(20)
    made = GaussianNoise(model=MODEL, std=1).craft(small(), x, y, np.random.default_rng(0))
    assert (made.min(), made.max()) == (0, 1)


def test_labels_are_rejected_for_noise() -> None:
    assert list(UniformNoise(model=MODEL, eps=0.1).check()) == []
    assert [field for field, _ in UniformNoise(model=MODEL, eps=0.1, labels="predicted").check()] == ["labels"]


def test_an_attack_beats_the_noise_of_its_size() -> None:
    victim, _ = linear((6, 6, 3), classes=5)
    x, _ = images(200)
    y = victim.predict(x)
    rng = np.random.default_rng(0)
    noisy = victim.predict(UniformNoise(model=MODEL, eps=0.05).craft(victim, x, y, rng)) != y
    attacked = victim.predict(FGSM(model=MODEL, eps=0.05).craft(victim, x, y, rng)) != y
    assert attacked.mean() > noisy.mean() + 0.3
