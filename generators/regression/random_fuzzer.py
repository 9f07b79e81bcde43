"""Random testing: one random mutation of a seed, with the accounting of every regression fuzzer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from temper.core.component import Range
from temper.core.run import Run
from temper.generators.regression import mutation_operators
from temper.generators.regression.deephunter_mutation import DeepHunterMutation, MutationSubjects
from temper.generators.regression.fault_accounting import MutantOutcomes, Mutants, Roots
from temper.generators.regression.mutation_operators import Operator
from temper.generators.regression.mutation_queue import Rows
from temper.generators.regression.regression_fuzzer import RegressionFuzzer
from temper.generators.regression.regression_loop import Strategy


@dataclass(frozen=True, kw_only=True)
class RandomFuzzer(RegressionFuzzer):
    """Random testing: every mutant is a seed mutated once by a random operator with random parameters.

    With DeepHunter's operators all their 69 parameters are equally likely, and an operator that moves no pixels is
    drawn again, up to 49 times, until less than 2 % of the entries differ or none by more than 51 of 255 levels.

    Source: the baseline that DRFuzz's evaluation lacks; Xie et al. (2019), DeepHunter: A Coverage-Guided Fuzz Testing
    Framework for Deep Neural Networks, for operators and bound.
    """

    tag = "random_fuzzer"

    operator_set: Annotated[Literal["deephunter", "drfuzz"], "set of operators to sample from"] = "deephunter"
    round_mutants: Annotated[int, "mutants that both versions classify at once", Range(ge=1)] = 2560

    @property
    def operators(self) -> Sequence[Operator]:
        return mutation_operators.deephunter() if self.operator_set == "deephunter" else mutation_operators.drfuzz()

    def strategy(self, roots: Roots, run: Run) -> Strategy:
        return _RandomStrategy(self, roots)


class _RandomStrategy(Strategy):
    def __init__(self, fuzzer: RandomFuzzer, roots: Roots) -> None:
        self._roots, self._operators, self._most = roots, fuzzer.operators, fuzzer.round_mutants
        self._mutation = DeepHunterMutation() if fuzzer.operator_set == "deephunter" else None

    def propose(self, most: int, rng: np.random.Generator) -> Mutants | None:
        # Never more than the budget allows.
        n = min(most, self._most)
        if not n:
            return None
        source = rng.integers(len(self._roots), size=n)
        parents = self._roots.x[source]
        if self._mutation:
            made, operator = self._mutation.mutate(MutationSubjects.seeds(parents), rng)
            x = made.x
        else:
            operator = rng.integers(len(self._operators), size=n)
            x = mutation_operators.mutate(self._operators, operator, parents, rng)
        return Mutants(
            x=x,
            source=source,
            entry=source,
            operator=operator,
            generation=np.ones(n, np.int64),
            drop=self._roots.drops[source],
            changed=(x != parents).any(axis=(1, 2, 3)),
        )

    def learn(self, mutants: Mutants, outcomes: MutantOutcomes, found: NDArray[np.bool_]) -> None:
        """Learn nothing."""

    def trace(self, entries: Rows) -> NDArray[np.int8]:
        return np.zeros((len(entries), 0), np.int8)

    @property
    def waiting(self) -> int:
        return len(self._roots)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        return {}, {}

    def restore(self, arrays: Mapping[str, NDArray[Any]], plain: Mapping[str, Any]) -> None:
        """There is no state to restore."""
