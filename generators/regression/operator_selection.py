"""Operator selection: a Markov chain over operators ranked by their success."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Selection = Literal["mcmc_redraw", "mh", "uniform"]
Counts = NDArray[np.int64]


def kernel(selection: Selection, n: int) -> NDArray[np.float64]:
    """Return the transition probabilities (n, n) between ranks, 0 being the best operator's.

    A rank b is proposed uniformly and accepted from rank a with min(1, (1 - 1/n)^(b - a)). ``mh`` stays at a on
    rejection (Metropolis-Hastings), so that ranks are visited geometrically: pi(k) ~ g_k = (1 - 1/n)^k. ``mcmc_redraw``
    proposes until one is accepted: pi(k) ~ sum_j min(g_k, g_j), which guides less. ``uniform`` accepts all.
    """
    if selection == "uniform":
        return np.full((n, n), 1 / n)
    ranks = np.arange(n)
    accepted = np.minimum(1, (1 - 1 / n) ** (ranks - ranks[:, None])) / n
    if selection == "mh":
        return np.asarray(accepted + np.diag(1 - accepted.sum(axis=1)))
    return np.asarray(accepted / accepted.sum(axis=1, keepdims=True))


class OperatorChain:
    """One chain for all seeds, and each operator's counts: uses, faithful mutants, rewards."""

    def __init__(self, n: int, selection: Selection) -> None:
        self.used, self.faithful, self.rewarded = (np.zeros(n, np.int64) for _ in range(3))
        # Without the last column, which may round to less than 1 and be exceeded by a draw.
        self._steps = [row.tolist() for row in np.cumsum(kernel(selection, n), axis=1)[:, :-1]]
        self._last: int | None = None

    @property
    def scores(self) -> NDArray[np.float64]:
        """Reward rate times faithfulness rate of each operator, (n,); 0 for one that was never used."""
        return np.asarray(self.rewarded * self.faithful / np.maximum(self.used, 1) ** 2)

    def walk(self, steps: int, rng: np.random.Generator) -> Counts:
        """Return the operators of the next steps, int64 (steps,); they are ranked once, ties at random."""
        n = len(self.used)
        shuffled = rng.permutation(n)
        # Shuffled before a stable sort, so that ties are in random order.
        order = shuffled[np.argsort(-self.scores[shuffled], kind="stable")]
        rank = int(rng.integers(n)) if self._last is None else int(np.flatnonzero(order == self._last)[0])
        # The very first operator is sampled uniformly and is itself the first step.
        draws = rng.random(steps - (self._last is None)).tolist()
        ranks = [rank] if self._last is None else []
        for draw in draws:
            rank = bisect_right(self._steps[rank], draw)
            ranks.append(rank)
        self._last = int(order[rank])
        return order[ranks]

    def count(self, operators: Counts, faithful: NDArray[np.bool_], rewarded: NDArray[np.bool_]) -> None:
        """Count uses of operators (k,), which of them produced a faithful mutant, and which were rewarded."""
        which = ((self.used, operators), (self.faithful, operators[faithful]), (self.rewarded, operators[rewarded]))
        for total, rows in which:
            np.add.at(total, rows, 1)

    def state(self) -> dict[str, Any]:
        """Return what ``restore`` needs, in plain values."""
        counts = {name: getattr(self, name).tolist() for name in ("used", "faithful", "rewarded")}
        return counts | {"last": self._last}

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from a state."""
        self._last = state["last"]
        for name in ("used", "faithful", "rewarded"):
            getattr(self, name)[:] = state[name]
