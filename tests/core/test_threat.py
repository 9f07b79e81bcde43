"""Threat models: distances worked by hand, and the edge of the ball."""

from __future__ import annotations

import numpy as np
import pytest

from core.threat import Norm, ThreatModel, distance

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
