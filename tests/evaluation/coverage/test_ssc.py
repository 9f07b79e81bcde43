"""Sign-sign cover against its definition, pair of inputs by pair of inputs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from temper.core.errors import StageError
from temper.evaluation.coverage import sign_pairs as module
from temper.evaluation.coverage.ssc import SSC
from temper.nn.inspection.activations import Activations
from tests.evaluation.coverage.support import PATIENT, activations, covering, drawn, hit


def by_definition(seen: Activations, names: tuple[str, ...]) -> int:
    """Return how many pairs of units any two inputs cover."""
    covered = set()
    for (k, first), (_, second) in itertools.pairwise(enumerate(seen.columns(names))):
        for one, two in itertools.combinations(seen.positive, 2):
            changed = np.flatnonzero(one[first] != two[first])
            if len(changed) == 1:
                covered |= {(k, changed[0], j) for j in np.flatnonzero(one[second] != two[second])}
    return len(covered)


def test_a_table_worked_by_hand() -> None:
    #                  one and two: unit 0 alone changes, and the second layer's 1; one and three: both units
    seen = activations([[1, 1], [0, 1], [0, 0]], [[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    coverage = covering(SSC(layers=("a", "b")), seen)  # two and three: unit 1 alone, and the second layer's 0
    assert hit(coverage, seen) == (2, 6)
    assert coverage.gain(seen).tolist() == [0, 0, 0]
    assert coverage.sequential_gain(seen).tolist() == [0, 1, 1]
    coverage.update(seen.take(np.array([1])))
    assert coverage.gain(seen).tolist() == [1, 0, 1]
    assert coverage.sequential_gain(seen).tolist() == [1, 0, 1]


@PATIENT
@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_it_is_the_definition(seed: int, n: int) -> None:
    seen = drawn(seed, n, 3, 4)
    assert hit(covering(SSC(), seen), seen)[0] == by_definition(seen, ("a", "b", "logits"))


@PATIENT
@given(st.integers(0, 2**32 - 1))
def test_parts_change_nothing(seed: int) -> None:
    seen = drawn(seed, 20, 2, 3)
    coverage = covering(SSC(), seen)
    coverage.update(seen.take(slice(0, 10)))
    whole = coverage.gain(seen), coverage.sequential_gain(seen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TOGETHER", 5)
        parts = coverage.gain(seen), coverage.sequential_gain(seen)
    np.testing.assert_array_equal(whole, parts)


def test_the_sign_of_a_map() -> None:
    maps = np.array([[3.0, -1], [1, -3]]).reshape(2, 1, 2, 1)
    seen = activations(maps, [[1], [0]])
    assert hit(covering(SSC(layers=("a", "b")), seen), seen) == (0, 1)  # positive somewhere, both of them
    assert hit(covering(SSC(layers=("a", "b"), sign="mean"), seen), seen) == (1, 1)


def test_one_layer_has_no_pairs() -> None:
    seen = drawn(0, 3, 3)
    with pytest.raises(StageError, match="two layers"):
        covering(SSC(layers=("a",)), seen)
