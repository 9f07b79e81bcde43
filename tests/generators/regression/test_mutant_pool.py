"""The pool: weights, draws, ancestors and traces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from temper.generators.regression.mutant_pool import MutantPool, weight


def filled(n: int, **columns: Any) -> MutantPool:
    pool = MutantPool((2, 2, 1))
    add(pool, n, **columns)
    return pool


def add(pool: MutantPool, n: int, level: int = 0, **columns: Any) -> None:
    names = ("parent", "operator", "source", "generation", "strongest", "right", "drop")
    values = {name: np.full(n, -1 if name == "parent" else 0) for name in names} | columns
    pool.add(np.full((n, 2, 2, 1), level, np.uint8), **values)


def test_weights_are_the_published_ones() -> None:
    g, s = np.array([0, 1, 0, 20, 0, 0]), np.array([0, 0, 1, 0, 10, 11])
    expected = [1, 0.86089, 0.92784, 0.05, 0.47287, 0]
    assert weight(g, s) == pytest.approx(expected, abs=5e-6)


def test_entries_are_sampled_by_weight() -> None:
    generation = np.array([0, 0, 4, 10, 20])
    pool = filled(5, generation=generation)
    rng = np.random.default_rng(0)
    first = np.bincount([pool.choose(1, rng)[0] for _ in range(6000)], minlength=5)
    law = weight(generation, np.zeros(5)).astype(float)
    assert stats.chisquare(first, law / law.sum() * 6000).pvalue > 0.01
    # The second of two is drawn among the others by their weights.
    pairs = [tuple(pool.choose(2, rng)) for _ in range(6000)]
    after = np.bincount([b for a, b in pairs if a == 0], minlength=5)
    others = np.where(np.arange(5) == 0, 0, law)
    kept = others > 0
    assert stats.chisquare(after[kept], others[kept] / others.sum() * after.sum()).pvalue > 0.01
    assert sorted(pool.choose(9, rng)) == [0, 1, 2, 3, 4]


def test_eleven_selections_kill_an_entry() -> None:
    pool = filled(2)
    for _ in range(10):
        pool.decay(np.array([1]))
    assert pool["weight"][1] == pytest.approx(0.47287, abs=5e-6)
    pool.decay(np.array([1]))
    assert pool.living.tolist() == [0]


def test_only_dead_entries_release_their_images() -> None:
    pool = filled(4)
    for number in range(11):
        assert pool.living.tolist() == [0, 1, 2, 3], number
        pool.decay(np.array([1, 3]))
    assert pool.living.tolist() == [0, 2]
    assert pool["slot"][[1, 3]].tolist() == [-1, -1]
    add(pool, 2, level=9)
    # The two new images lie where the two dead ones were.
    assert len(pool.state()["images"]) == 4
    assert sorted(pool["slot"][[0, 2, 4, 5]].tolist()) == [0, 1, 2, 3]
    assert pool.images(np.array([0, 2])).max() == 0
    assert pool.images(np.array([4, 5])).min() == 9
    # The dead are not counted on, nor released twice.
    pool.decay(np.array([1, 3, 0]))
    assert pool["selected"][[0, 1, 3]].tolist() == [1, 11, 11]
    add(pool, 1)
    assert len(pool.state()["images"]) == 5


def test_dead_entries_stay_dead_and_release_their_slots() -> None:
    pool = filled(3)
    pool.kill(np.array([1]))
    pool.decay(np.array([0, 1]))
    assert pool.living.tolist() == [0, 2]
    add(pool, 2, level=9)
    assert pool.images(np.array([3, 4])).max() == pool.images(np.array([3, 4])).min() == 9
    assert pool.images(np.array([0, 2])).max() == 0
    other = MutantPool((2, 2, 1))
    other.restore({name: array.copy() for name, array in pool.state().items()})
    add(other, 1, level=7)
    add(pool, 1, level=7)
    for name, array in pool.state().items():
        assert np.array_equal(array, other.state()[name]), name
    assert np.array_equal(pool.images(pool.living), other.images(other.living))
    assert len(pool.state()["images"]) == 5


def test_ancestors_and_traces_follow_the_parents() -> None:
    pool = filled(2, strongest=np.array([1, 2]), source=np.array([0, 1]))
    add(pool, 1, parent=np.array([0]), operator=np.array([5]), generation=np.array([1]), strongest=np.array([3]))
    add(
        pool,
        2,
        parent=np.array([2, 1]),
        operator=np.array([6, 7]),
        generation=np.array([2, 1]),
        strongest=np.array([1, 1]),
    )
    # 3 comes from 2 comes from 0; 4 comes from 1.
    wanted = np.zeros((2, 4), bool)
    wanted[0, 1] = wanted[1, 2] = True
    assert pool.ancestors(np.array([3, 4]), wanted).tolist() == [0, 1, 3]
    assert pool.ancestors(np.zeros(0, np.int64), wanted[:0]).tolist() == []
    assert pool.trace(np.array([3, 0, 4])).tolist() == [[5, 6], [-1, -1], [7, -1]]
