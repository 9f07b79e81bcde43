"""Regression faults on disk."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.artefacts.regression_faults import OperatorCount, RegressionFaults, Snapshot


def faults(**values: Any) -> RegressionFaults:
    n = 3
    given = {
        "x": np.linspace(0, 1, n, dtype=np.float32)[:, None, None, None],
        "y": np.array([1, 1, 2]),
        "index": np.array([7, 7, 9]),
        "v1": np.array([1, 1, 2]),
        "v2": np.array([0, 3, 0]),
        "generation": np.array([1, 2, 1]),
        "found_at": np.array([4, 9, 9]),
        "trace": np.array([[0, -1], [1, 0], [1, -1]], np.int8),
        "initial_index": np.array([3]),
        "initial_v2": np.array([5]),
        "operators": (OperatorCount("scale", 10, 9, 1, 2), OperatorCount("blur", 10, 10, 2, 0)),
        "curve": (Snapshot(10, 1, 0.5, 1, 1, 1, 2, 40), Snapshot(20, 2, 0.9, 3, 3, 2, 5, 41)),
        "seed_count": 50,
    }
    return RegressionFaults(**(given | values))


def test_stored_regression_faults_are_restored(tmp_path: Path) -> None:
    found = faults(info={"class_names": ["a"]})
    found.save(tmp_path)
    loaded = RegressionFaults.load(tmp_path)
    for name in ("x", "y", "index", "v1", "v2", "generation", "found_at", "trace", "initial_index", "initial_v2"):
        assert np.array_equal(getattr(loaded, name), getattr(found, name)), name
        assert getattr(loaded, name).dtype == getattr(found, name).dtype
    assert (loaded.operators, loaded.curve, loaded.seed_count) == (found.operators, found.curve, 50)
    assert loaded.info == found.info
    with (tmp_path / "curve.csv").open(encoding="utf-8-sig") as stream:
        assert [row["urf"] for row in csv.DictReader(stream)] == ["1", "3"]
    with (tmp_path / "operators.csv").open(encoding="utf-8-sig") as stream:
        assert [row["operator"] for row in csv.DictReader(stream)] == ["scale", "blur"]


def test_columns_of_another_length_are_rejected() -> None:
    with pytest.raises(ValueError, match="v2: expected 3 rows, one per fault, received 2"):
        faults(v2=np.array([0, 3]))
