"""Surprise against dnn-tip: class by class, of several sizes."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from dnn_tip import surprise as theirs

from temper.evaluation.surprise.dsa import DSA
from temper.evaluation.surprise.lsa import LSA
from temper.evaluation.surprise.mdsa import MDSA
from tests.evaluation.surprise.support import seen, values

SIZES = pytest.mark.parametrize(("n", "d", "classes"), [(60, 2, 2), (90, 5, 3), (200, 8, 4)])


def drawn(n: int, d: int, classes: int) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(n)
    train, test = (rng.normal(size=(m, d)).astype(np.float32) for m in (n, n // 3))
    return train, rng.integers(0, classes, n), test, rng.integers(0, classes, n // 3)


@SIZES
def test_distance(n: int, d: int, classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "collect", lambda: 0)  # nearly all of their time
    train, of_train, test, of_test = drawn(n, d, classes)
    expected = theirs.DSA(train.astype(np.float64), of_train, badge_size=1000)(test.astype(np.float64), of_test)
    assert values(DSA(), seen(train, of_train), seen(test, of_test)) == pytest.approx(expected, rel=1e-6)


@SIZES
@pytest.mark.parametrize(("ours", "kind"), [(LSA(), theirs.LSA), (MDSA(), theirs.MDSA)])
def test_spread(ours: Any, kind: Any, n: int, d: int, classes: int) -> None:
    train, of_train, test, of_test = drawn(n, d, classes)
    found = values(ours, seen(train, of_train), seen(test, of_test))
    for label in range(classes):
        own = train[of_train == label].astype(np.float64)
        expected = np.asarray(kind(own)(test[of_test == label].astype(np.float64), None), np.float64)
        if kind is theirs.MDSA:
            # Theirs is the square, of a covariance divided by n in place of n - 1.
            expected = np.sqrt(expected * (len(own) - 1) / len(own))
        assert found[of_test == label] == pytest.approx(expected, rel=1e-6)
