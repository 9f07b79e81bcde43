"""The counts of regression fuzzers."""

from __future__ import annotations

from typing import Any

import numpy as np

from temper.core.component import Ref
from temper.core.run import Run
from temper.evaluation.regression_fault_counts import RegressionFaultCounts
from tests.artefacts.test_regression_faults import faults


def test_the_counts_are_those_at_the_end() -> None:
    fuzzer: Any = Ref("fuzzer")
    run = Run("counts", 0, None, lambda ref: faults(), lambda ref: {}, lambda done, total, unit: None)
    evaluation = RegressionFaultCounts(examples=(fuzzer,))
    rows = {(row.metric, row.group): row for row in evaluation.measure(run)}
    assert {key: (row.value, row.n) for key, row in rows.items()} == {
        ("urf", ""): (3, 20), ("rfi", ""): (3, 20), ("images", ""): (3, 20), ("seeds", ""): (2, 50), ("v2_failures", ""): (5, 20),
        ("initial", ""): (1, 51), ("mutants", ""): (20, 20), ("purity", ""): (3 / 5, 5),
        ("pass_rate", ""): (0.95, 20), ("yield", ""): (0.15, 20),
        ("pass_rate", "scale"): (0.9, 10), ("pass_rate", "blur"): (1.0, 10),
        ("yield", "scale"): (0.1, 10), ("yield", "blur"): (0.2, 10),
    }  # fmt: skip
    assert {metric for metric, _ in rows} == set(evaluation.metrics)
    assert all(row.examples == "fuzzer" for row in rows.values())


def test_an_image_that_was_found_twice_is_one() -> None:
    fuzzer: Any = Ref("fuzzer")
    twice = faults(x=np.zeros((3, 1, 1, 1), np.float32))
    run = Run("counts", 0, None, lambda ref: twice, lambda ref: {}, lambda done, total, unit: None)
    values = {row.metric: row.value for row in RegressionFaultCounts(examples=(fuzzer,)).measure(run) if not row.group}
    assert (values["rfi"], values["images"]) == (3, 1)
