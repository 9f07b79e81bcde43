"""What an attack notes of the images that the report shows."""

from __future__ import annotations

import numpy as np

from core.attack import PER_CLASS, SHOWN, pictured, verdicts
from tests.generators.models import linear


def test_the_first_images_are_pictured_and_the_first_of_each_class() -> None:
    y = np.repeat([2, 0, 1], [SHOWN + 10, PER_CLASS + 3, 2])
    zeros, ones = SHOWN + 10, SHOWN + 10 + PER_CLASS + 3
    assert pictured(y).tolist() == [*range(SHOWN), *range(zeros, zeros + PER_CLASS), ones, ones + 1]
    assert pictured(y[:3]).tolist() == [0, 1, 2]


def test_the_model_is_asked_about_what_is_pictured() -> None:
    victim, _ = linear()
    x = np.random.default_rng(0).random((40, 4, 4, 1), np.float32)
    y = np.repeat([0, 1], 20)
    said = verdicts(victim, x, y)["predicted"]
    assert list(said) == [str(row) for row in pictured(y)]
    assert list(said.values()) == victim.predict(x)[pictured(y)].tolist()
    assert "20" in said
