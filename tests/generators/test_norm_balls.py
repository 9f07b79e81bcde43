"""The balls: projections against brute force, idempotent and inside; draws uniform and inside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from temper.core.threat_model import Norm, distance
from temper.generators.norm_balls import projector, uniform_in_ball, unit_step
from temper.system import backend

SHAPE = (6, 3, 3, 2)
NORMS: list[Norm] = ["inf", 2, 1]


def project(images: Any, centre: Any, eps: float, norm: Norm) -> Any:
    ops = backend.keras().ops
    tensors = [ops.convert_to_tensor(a.astype(np.float32)) for a in (images, centre)]
    return ops.convert_to_numpy(projector(tensors[1], np.float32(eps), norm)(tensors[0]))


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), eps=st.floats(0.01, 6), spread=st.floats(0.001, 5))
def test_projection_is_inside_idempotent_and_leaves_inner_points(
    norm: Norm, seed: int, eps: float, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    centre = rng.random(SHAPE, np.float32)
    outside = (centre + spread * rng.standard_normal(SHAPE)).astype(np.float32)
    once = project(outside, centre, eps, norm)
    assert (distance(once - centre, norm) <= eps * (1 + 1e-5) + 1e-6).all()
    assert once.min() >= 0
    assert once.max() <= 1
    np.testing.assert_allclose(project(once, centre, eps, norm), once, atol=2e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), eps=st.floats(0.05, 3))
def test_l1_projection_is_the_nearest_point(seed: int, eps: float) -> None:
    """The threshold by bisection, an independent way to solve sum max(|d| - t, 0) = eps."""
    difference = 0.3 * np.random.default_rng(seed).standard_normal(SHAPE)
    expected = difference.copy()
    for row in range(len(difference)):
        size = np.abs(difference[row])
        if size.sum() > eps:
            low, high = 0.0, size.max()
            for _ in range(60):
                middle = (low + high) / 2
                low, high = (middle, high) if np.maximum(size - middle, 0).sum() > eps else (low, middle)
            expected[row] = np.sign(difference[row]) * np.maximum(size - low, 0)
    centre = np.full(SHAPE, 0.5, np.float32)
    made = project(centre + difference, centre, eps, 1)
    np.testing.assert_allclose(made, np.clip(centre + expected, 0, 1), atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_ascent_has_length_one_and_is_zero_without_gradient(norm: Norm) -> None:
    gradient = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    gradient[1] *= 1e-25
    gradient[2] = 0
    ops = backend.keras().ops
    step = ops.convert_to_numpy(unit_step(ops.convert_to_tensor(gradient), norm))
    np.testing.assert_allclose(distance(step, norm), [1, 1, 0, 1, 1, 1], rtol=1e-5)
    assert ((step * gradient).sum(axis=(1, 2, 3))[[0, 1, 3, 4, 5]] > 0).all()


@pytest.mark.parametrize("norm", NORMS)
def test_draws_are_uniform_in_the_ball(norm: Norm) -> None:
    """The volume within a share r of the radius is r^d, so (length / eps)^d is uniform on [0, 1]."""
    noise = uniform_in_ball(np.random.default_rng(0), (20000, 2, 2, 1), norm, 0.7)
    assert noise.dtype == np.float32
    volume = (distance(noise, norm) / 0.7) ** 4
    assert volume.max() <= 1 + 1e-5
    np.testing.assert_allclose(np.quantile(volume, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.015)
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.01)


@pytest.mark.parametrize("norm", [2, 1, "inf"])
@pytest.mark.parametrize("size", [0.0, 1e-34, 1e-20, 1.0, 1e18])
def test_compiled_steps_have_length_one_and_no_direction_without_gradient(norm: Norm, size: float) -> None:
    if backend.name() != "tensorflow":
        pytest.skip("compiles with TensorFlow's XLA")
    import tensorflow as tf

    compiled = tf.function(lambda gradient: unit_step(gradient, norm), jit_compile=True)
    gradient = np.random.default_rng(2).normal(size=(3, 4, 4, 1)).astype(np.float32) * np.float32(size)
    length = np.linalg.norm(
        np.asarray(compiled(gradient)).reshape(3, -1), ord=np.inf if norm == "inf" else norm, axis=1
    )
    np.testing.assert_allclose(length, 1.0 if size else 0.0, rtol=1e-5)
