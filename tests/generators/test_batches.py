"""Temper's own attacks return the same images at any batch size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Examples
from temper.core.attack import Attack
from temper.core.component import Ref
from temper.core.run import Run
from temper.core.threat_model import Norm
from temper.generators.fgsm_bim_pgd import BIM, FGSM, PGD
from temper.generators.image_streams import ImageStreams
from temper.generators.norm_balls import uniform_in_ball
from temper.generators.random_noise import GaussianNoise, UniformNoise
from tests.generators.models import images, linear

MODEL: Any = Ref("model")
COMMON: dict[str, Any] = {"model": MODEL, "data": Ref("data")}
STEPS: dict[str, Any] = {**COMMON, "max_iter": 3}
NORMS: list[Norm] = ["inf", 2, 1]
SIZES = (7, 25, 500)
NOISE = [
    UniformNoise(**COMMON, eps=0.2),
    GaussianNoise(**COMMON, std=0.1),
    GaussianNoise(**COMMON, std=0.1, eps=0.05),
]
CLIMBS = [
    FGSM(**COMMON, eps=0.1),
    BIM(**STEPS, eps=0.1, eps_step=0.03),
    *(PGD(**STEPS, eps=eps, eps_step=eps / 4, norm=norm) for norm, eps in zip(NORMS, (0.1, 0.8, 5.0), strict=True)),
    PGD(**STEPS, eps=0.05, eps_step=0.01, num_random_init=4),
    PGD(**STEPS, eps=0.5, eps_step=0.1, norm=2, num_random_init=4),
]


def made(attack: Attack, n: int = 60) -> np.ndarray:
    victim, _ = linear((3, 5, 3), classes=5)
    x, y = images(n, (3, 5, 3))
    found: dict[str, Any] = {"model": victim, "data": Examples(x=x, y=y.astype(np.int64), index=np.arange(n))}
    return attack.produce(Run("it", 1, "test", lambda ref: found[str(ref)], lambda _: {}, lambda *_: None)).x


@pytest.mark.parametrize("attack", NOISE, ids=lambda attack: attack.tag)
def test_noise_is_bit_identical_at_any_batch_size(attack: Attack) -> None:
    one, two, three = (made(replace(attack, batch_size=size)) for size in SIZES)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize("attack", CLIMBS, ids=lambda attack: attack.step_rule)
def test_gradient_attacks_agree_up_to_the_order_of_sums(attack: Attack) -> None:
    """Sums depend on the batch by rounding only: gradients of a linear model are far enough from 0."""
    one, two, three = (made(replace(attack, batch_size=size)) for size in SIZES)
    np.testing.assert_allclose(one, two, atol=1e-5)
    np.testing.assert_allclose(one, three, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_draws_are_bit_identical_in_batches(norm: Norm) -> None:
    shape = (9, 3, 5, 1)
    rng = np.random.default_rng(3)
    parts = [uniform_in_ball(rng, (n, *shape[1:]), norm, 0.5) for n in (4, 3, 2)]
    np.testing.assert_array_equal(np.concatenate(parts), uniform_in_ball(np.random.default_rng(3), shape, norm, 0.5))


@pytest.mark.parametrize("norm", NORMS)
def test_an_image_keeps_its_streams_in_any_batch_and_selection(norm: Norm) -> None:
    def drawn(streams: ImageStreams, rows: list[int], number: int) -> np.ndarray:
        return uniform_in_ball(streams.of(np.array(rows), number), (len(rows), 3, 5, 1), norm, 0.5)

    whole = ImageStreams(np.random.default_rng(3), 9)
    rng = np.random.default_rng(3)
    first, second = ImageStreams(rng, 4), ImageStreams(rng, 5)
    every = drawn(whole, list(range(9)), 0)
    np.testing.assert_array_equal(
        np.concatenate([drawn(first, [0, 1, 2, 3], 0), drawn(second, [0, 1, 2, 3, 4], 0)]), every
    )
    np.testing.assert_array_equal(drawn(whole, [7, 2], 0), every[[7, 2]])
    assert not np.isclose(drawn(whole, list(range(9)), 1), every).all(axis=(1, 2, 3)).any()
    assert len(np.unique(every.reshape(9, -1), axis=0)) == 9


@pytest.mark.parametrize("norm", NORMS)
def test_draws_from_streams_are_uniform_in_the_ball(norm: Norm) -> None:
    """As from one stream: the volume within a share r of the radius is r^d."""
    streams = ImageStreams(np.random.default_rng(0), 5000)
    noise = uniform_in_ball(streams.of(np.arange(5000), 2), (5000, 2, 2, 1), norm, 0.7)
    size = np.abs(noise).reshape(5000, -1)
    length = size.max(axis=1) if norm == "inf" else (size**norm).sum(axis=1) ** (1 / norm)
    np.testing.assert_allclose(np.quantile((length / 0.7) ** 4, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.03)
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.02)
