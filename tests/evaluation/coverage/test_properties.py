"""What holds of every criterion, whatever it counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.adequacy.coverage import Criterion
from evaluation.coverage.boundary import NBC, SNAC
from evaluation.coverage.kmnc import KMNC
from evaluation.coverage.nc import NC
from evaluation.coverage.ssc import SSC
from evaluation.coverage.surprise import DSC, LSC
from evaluation.coverage.tknc import TKNC
from tests.evaluation.coverage.support import PATIENT, covering, drawn, hold

CRITERIA = [
    NC(threshold=0.5), NC(layers=("a",)), KMNC(k=5), KMNC(k=3, sigma=0.5), NBC(), SNAC(sigma=0.1), TKNC(k=2), SSC(),
    LSC(buckets=20, upper=20, mask="per_class"), DSC(buckets=20),
]  # fmt: skip


@PATIENT
@given(st.integers(0, 2**32 - 1), st.integers(0, 9), st.integers(0, 9))
@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: criterion.tag)
def test_what_holds_of_every_coverage(criterion: Criterion, seed: int, n: int, m: int) -> None:
    empty = covering(criterion, drawn(seed, 6, 4, 3))
    hold(empty, drawn(seed + 1, n, 4, 3), drawn(seed + 2, m, 4, 3))
