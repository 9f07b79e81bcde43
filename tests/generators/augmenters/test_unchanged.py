"""The control of every augmenter."""

from __future__ import annotations

from typing import Any

import numpy as np

from temper.generators.augmenters.unchanged import Unchanged
from tests.generators.augmenter_contexts import seeds
from tests.generators.fuzzing.test_semantic_fuzzer import grey


def test_the_seeds_are_returned_unchanged() -> None:
    nothing: Any = None
    given = seeds(grey(0.1, 0.7).x, np.array([3, 4]))
    made = Unchanged().augment(given, nothing)
    assert made.x is given.x
    assert made.y.tolist() == [3, 4]
