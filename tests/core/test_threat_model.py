"""Threat models: distances worked by hand, and the edge of the ball."""

from __future__ import annotations

import numpy as np
import pytest

from temper.core.threat_model import Norm, ThreatModel, distance, step_problem

DIFFERENCE = np.array([[0.3, -0.4], [0.0, 0.0]], np.float32).reshape(2, 1, 2, 1)


@pytest.mark.parametrize(("norm", "expected"), [("inf", 0.4), (2, 0.5), (1, 0.7), (0, 2)])
def test_distance_by_hand(norm: Norm, expected: float) -> None:
    np.testing.assert_allclose(distance(DIFFERENCE, norm), [expected, 0], rtol=1e-6)


@pytest.mark.parametrize(("norm", "length"), [("inf", 0.4), (2, 0.5), (1, 0.7)])
def test_contains_the_edge_but_not_beyond(norm: Norm, length: float) -> None:
    assert ThreatModel(norm, length).contains(DIFFERENCE).tolist() == [True, True]
    assert ThreatModel(norm, length * 0.999).contains(DIFFERENCE).tolist() == [False, True]


def test_rounding_of_every_pixel_does_not_leave_the_ball() -> None:
    pixels = (1, 48, 48, 1)
    edge = np.full(pixels, 0.05 / np.prod(pixels), np.float32)
    assert ThreatModel(1, 0.05).contains(edge + np.float32(2.0**-25)).all()
    assert not ThreatModel(1, 0.05).contains(edge + np.float32(2.0**-23)).any()


@pytest.mark.parametrize(
    ("norm", "eps", "problem", "size_problem"),
    [
        ("inf", 8, "expected at most 1, the range of a pixel, received 8; write 8/255 for 8", True),
        ("inf", 1, "", False),
        ("inf", -0.1, "expected more than 0, received -0.1", False),
        (2, float("nan"), "expected more than 0, received nan", True),
        (2, 5, "", False),
        (2, 5.1, "", True),
        (1, 25, "", False),
        (1, 255, "", True),
    ],
)
def test_radii_larger_than_the_distance_between_images_are_rejected(
    norm: Norm, eps: float, problem: str, size_problem: bool
) -> None:
    assert ThreatModel(norm, eps).problem() == problem
    assert bool(ThreatModel(norm, eps).size_problem((5, 5, 1))) == size_problem


def test_a_step_is_at_most_the_width_of_the_ball() -> None:
    assert step_problem(0.2, 0.1) == ""
    assert "expected at most 2 x eps = 0.2, the width of the ball, received 0.21" in step_problem(0.21, 0.1)


@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_only_slightly_too_long_perturbations_are_trimmed(norm: Norm) -> None:
    lengths = np.array([0.5, 1.0, 1.0001, 1.5], np.float32)
    pixel = np.zeros((4, 2, 2, 1), np.float32)
    pixel[:, 0, 0, 0] = lengths
    threat = ThreatModel(norm, 1.0)
    trimmed = threat.trimmed(pixel, 2e-4)
    np.testing.assert_allclose(distance(trimmed, norm), [0.5, 1, 1, 1.5], rtol=1e-6)
    assert threat.contains(trimmed).tolist() == [True, True, True, False]
    assert not threat.contains(pixel)[2]
