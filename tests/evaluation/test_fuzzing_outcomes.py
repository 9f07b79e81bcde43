"""The counts of a fuzzer's log."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.artefacts.corner_cases import (
    CORNER_CASE,
    NOTHING_NEW,
    REFUSED,
    UNREALISTIC,
    Candidate,
    CornerCases,
    Iteration,
)
from temper.core.component import Ref
from temper.core.run import Run
from temper.evaluation.fuzzing_outcomes import Fuzzing


def candidate(outcome: str, predicted: int = 0) -> Candidate:
    return Candidate(0, 0, 1, 0, 0, predicted, outcome, "", (), (1,))


def test_the_counts_of_a_log() -> None:
    outcomes = [REFUSED, UNREALISTIC, UNREALISTIC, NOTHING_NEW, CORNER_CASE, CORNER_CASE, CORNER_CASE, CORNER_CASE]
    found = CornerCases(
        x=np.zeros((4, 1, 1, 1), np.float32),
        y=np.zeros(4, np.int64),
        index=np.arange(4),
        criteria=("nc",),
        iterations=(Iteration(0, 4, 1, 2, 1, 2, 1, 0.5, (0.25,)), Iteration(1, 4, 0, 0, 0, 2, 0, 0.1, (0.75,))),
        candidates=tuple(map(candidate, outcomes)),
    )
    fuzzer: Any = Ref("fuzzer")
    run = Run("log", 0, None, lambda ref: found, lambda ref: {}, lambda done, total, unit: None)
    rows = {row.metric: row for row in Fuzzing(examples=(fuzzer,)).measure(run)}
    assert {name: row.value for name, row in rows.items()} == {
        "failures": 1, "corner_cases": 4, "candidates": 8, "failure_rate": 1 / 4, "refused": 1 / 8, "unrealistic": 2 / 8,
        "nothing_new": 1 / 8, "control": pytest.approx(0.3), "coverage": 0.75,
    }  # fmt: skip
    assert rows["coverage"].group == "nc"
