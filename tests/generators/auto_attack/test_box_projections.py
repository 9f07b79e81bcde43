"""Projections within the box: equal to those of a general solver."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from temper.core.threat_model import Norm
from temper.generators.auto_attack.box_projections import onto_hyperplane, onto_l1_ball
from temper.system import backend

N, D = 12, 9


def numpy(tensor: object) -> np.ndarray:
    return np.asarray(backend.keras().ops.convert_to_numpy(tensor), np.float64)


@pytest.mark.parametrize("eps", [0.05, 0.7, 2.5, 50.0])
def test_l1_ball_and_box(eps: float) -> None:
    rng = np.random.default_rng(3)
    centre = rng.random((N, D)).astype(np.float32)
    moves = rng.normal(scale=0.8, size=(N, D)).astype(np.float32)
    made = numpy(onto_l1_ball(centre, moves, np.full((N, 1), eps, np.float32)))
    assert (np.abs(made).sum(axis=1) <= eps * (1 + 1e-5)).all()
    for row in range(N):
        # d = p - q with p, q >= 0, so that |d|_1 is linear.
        low, high = -centre[row].astype(float), 1 - centre[row].astype(float)
        best = optimize.minimize(
            lambda pq, row=row: np.square(pq[:D] - pq[D:] - moves[row]).sum(),
            np.zeros(2 * D),
            bounds=[(0, max(h, 0)) for h in high] + [(0, max(-v, 0)) for v in low],
            constraints={"type": "ineq", "fun": lambda pq: eps - pq.sum()},
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        np.testing.assert_allclose(made[row], best.x[:D] - best.x[D:], atol=2e-4)


@pytest.mark.parametrize("norm", ["inf", 2, 1])
@pytest.mark.parametrize("share", [0.2, 0.8])
def test_hyperplane_in_the_box(norm: Norm, share: float) -> None:
    rng = np.random.default_rng(4)
    points = rng.random((N, D)).astype(np.float32)
    weights = rng.normal(size=(N, D)).astype(np.float32)
    weights[0, :4] = 0
    at = (weights * points).sum(axis=1)
    lowest = at - np.where(weights > 0, weights * points, weights * (points - 1)).sum(axis=1)
    offsets = (at + share * (lowest - at))[:, None].astype(np.float32)
    made = numpy(onto_hyperplane(points, weights, offsets, norm))
    np.testing.assert_allclose((weights * (points + made)).sum(axis=1), offsets[:, 0], atol=1e-5)
    assert (points + made > -1e-6).all()
    assert (points + made < 1 + 1e-6).all()
    for row in range(N):
        assert length(made[row], norm) == pytest.approx(
            shortest(points[row], weights[row], offsets[row, 0], norm), rel=1e-3
        )


@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_an_unreachable_hyperplane_gets_the_nearest_corner(norm: Norm) -> None:
    points = np.array([[0.2, 0.6]], np.float32)
    weights = np.array([[1.0, -2.0]], np.float32)
    made = numpy(onto_hyperplane(points, weights, np.array([[-9.0]], np.float32), norm))
    np.testing.assert_allclose(points + made, [[0.0, 1.0]], atol=1e-6)


def length(move: np.ndarray, norm: Norm) -> float:
    return float(np.linalg.norm(move, np.inf if norm == "inf" else norm))


def shortest(point: np.ndarray, weights: np.ndarray, offset: float, norm: Norm) -> float:
    """Return the length of the shortest move to the hyperplane in the box, by a linear or quadratic program."""
    gap = offset - float(weights @ point)
    if norm == 2:
        found = optimize.minimize(
            lambda d: np.square(d).sum(),
            np.zeros(D),
            bounds=[(-p, 1 - p) for p in point],
            constraints={"type": "eq", "fun": lambda d: weights @ d - gap},
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        return float(np.sqrt(found.fun))
    # Variables: the move, then its bound (norm inf) or the bounds of its entries (norm 1).
    extra = 1 if norm == "inf" else D
    ones = np.ones((D, 1)) if norm == "inf" else np.eye(D)
    solved = optimize.linprog(
        np.r_[np.zeros(D), np.ones(extra)],
        A_ub=np.block([[np.eye(D), -ones], [-np.eye(D), -ones]]),
        b_ub=np.zeros(2 * D),
        A_eq=np.r_[weights, np.zeros(extra)][None],
        b_eq=[gap],
        bounds=[(-p, 1 - p) for p in point] + [(0, None)] * extra,
    )
    return float(solved.fun)
