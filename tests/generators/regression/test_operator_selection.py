"""Operator selection: the stationary distributions of the chains, and the ranking."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from temper.generators.regression.operator_selection import OperatorChain, Selection, kernel

N = 15
G = (1 - 1 / N) ** np.arange(N)
LAWS = {
    "mcmc_redraw": np.minimum(G, G[:, None]).sum(axis=1),
    "mh": G,
    "uniform": np.ones(N),
}
PUBLISHED = [
    0.0802, 0.0796, 0.0786, 0.0772, 0.0754, 0.0733, 0.0709, 0.0684, 0.0656, 0.0628, 0.0598, 0.0567, 0.0536, 0.0505, 0.0473,
]  # fmt: skip


@pytest.mark.parametrize("selection", ["mcmc_redraw", "mh", "uniform"])
def test_the_stationary_distribution_equals_the_closed_form(selection: Selection) -> None:
    steps = kernel(selection, N)
    assert np.allclose(steps.sum(axis=1), 1)
    law = LAWS[selection] / LAWS[selection].sum()
    assert np.allclose(law @ steps, law, atol=1e-15)
    assert np.allclose(law[:, None] * steps, (law[:, None] * steps).T, atol=1e-16), "detailed balance"


def test_the_redraw_distribution_equals_the_measured_one() -> None:
    law = LAWS["mcmc_redraw"] / LAWS["mcmc_redraw"].sum()
    assert np.allclose(law, PUBLISHED, atol=5e-5)
    assert law[0] / law[-1] == pytest.approx(1.69, abs=0.01)
    assert G[0] / G[-1] == pytest.approx(2.63, abs=0.01)


@pytest.mark.parametrize("selection", ["mcmc_redraw", "mh", "uniform"])
def test_a_walk_visits_ranks_by_the_distribution(selection: Selection) -> None:
    chain = OperatorChain(N, selection)
    # Operator i is rewarded less often the larger i is, so that operators are ranked as they are numbered.
    chain.used[:], chain.faithful[:], chain.rewarded[:] = 100, 100, np.arange(N)[::-1] + 1
    # Every fortieth step: far enough apart to be independent draws.
    visited = chain.walk(400_000, np.random.default_rng(0))[::40]
    expected = LAWS[selection] / LAWS[selection].sum() * len(visited)
    assert stats.chisquare(np.bincount(visited, minlength=N), expected).pvalue > 0.01


def test_redrawing_follows_the_kernel() -> None:
    """The artefact's loop, proposal by proposal, from the middle rank."""
    rng, start = np.random.default_rng(1), 7
    counts = np.zeros(N)
    for _ in range(20_000):
        while True:
            rank = int(rng.integers(N))
            if rng.random() < min(1.0, (1 - 1 / N) ** (rank - start)):
                break
        counts[rank] += 1
    assert stats.chisquare(counts, kernel("mcmc_redraw", N)[start] * 20_000).pvalue > 0.01


def test_the_score_is_reward_rate_times_faithfulness() -> None:
    chain = OperatorChain(3, "mh")
    chain.count(np.array([0, 0, 1, 0, 0]), np.array([1, 1, 1, 0, 0], bool), np.array([1, 0, 0, 0, 0], bool))
    assert chain.scores.tolist() == [1 / 4 * 2 / 4, 0, 0]


def test_ties_are_broken_at_random_and_the_chain_continues() -> None:
    chain = OperatorChain(N, "mcmc_redraw")
    rng = np.random.default_rng(2)
    first = [OperatorChain(N, "mcmc_redraw").walk(1, rng)[0] for _ in range(3000)]
    assert stats.chisquare(np.bincount(first, minlength=N)).pvalue > 0.01
    walked = [chain.walk(3, rng) for _ in range(5)]
    assert all(len(steps) == 3 for steps in walked)
    other = OperatorChain(N, "mcmc_redraw")
    other.restore(chain.state())
    assert np.array_equal(chain.walk(20, np.random.default_rng(7)), other.walk(20, np.random.default_rng(7)))
