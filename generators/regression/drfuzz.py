"""DRFuzz: mutants that drive two versions further apart than any before them are mutated again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from temper.core.component import Range
from temper.core.run import Run
from temper.generators.regression import mutation_operators
from temper.generators.regression.fault_accounting import MutantOutcomes, Mutants, Roots
from temper.generators.regression.fidelity_gates import AnyFidelity, Fidelity
from temper.generators.regression.model_versions import CANDIDATE, FAULT, UNFAITHFUL
from temper.generators.regression.mutant_pool import MutantPool
from temper.generators.regression.mutation_operators import Operator
from temper.generators.regression.mutation_queue import Rows
from temper.generators.regression.operator_selection import OperatorChain, Selection
from temper.generators.regression.regression_fuzzer import RegressionFuzzer
from temper.generators.regression.regression_loop import Strategy

Ablated = Literal["nothing", "mcmc", "diversity", "fidelity", "decay", "trimming", "banning"]


@dataclass(frozen=True, kw_only=True)
class DRFuzz(RegressionFuzzer):
    """Regression fuzzing by a chain over operators and a record of divergence for each seed and wrong label.

    An image of the pool is chosen with exp(-a (g + s / 2)), a = ln(20) / 20, for its generation g and its selections s,
    up to ten (decay). One operator generates several mutants of it. A mutant that both versions get right enters the
    pool if for some wrong label k the new version's probability exceeds the old one's by more than it ever did among
    this seed's mutants (diversity). An operator is rewarded if such a mutant or a fault decreases the versions'
    probability of the true label: (1 - k) (p2(parent) - p2(mutant)) + k (p1(mutant) - p2(mutant)) > 0. After a fault,
    its ancestors whose strongest direction is the same wrong label leave the pool (trimming), and so do all entries of
    a seed whose every wrong label was seen (banning).

    ``ablate`` removes a part: ``mcmc`` samples operators uniformly; without ``diversity`` every mutant that both get
    right, except those on which the new version improved, enters the pool; without ``fidelity`` the gate is open.

    A round mutates several images of the pool and learns from all of them at its end; ``round_seeds: 1`` is the
    published, serial algorithm.

    Source: You, Wang, Chen, Liu and Li (2023), Regression Fuzzing for Deep Learning Systems, and its released code.
    Differs: noise is clipped, every selection counts for the decay, and a dead image stays dead. ``as_published``
    undoes the first two: noise overflows, and only the selections count in which a fault was found. A mutant is rounded
    to steps of 1/255.
    """

    tag = "drfuzz"

    mutants_per_seed: Annotated[int, "mutants per image of the pool at a time", Range(ge=1)] = 10
    round_seeds: Annotated[int, "images of the pool mutated in a round, at most 5 % of them", Range(ge=1)] = 256
    operator_selection: Annotated[
        Selection, "how the chain continues after a rejected operator: draw again, stay (mh), or never reject"
    ] = "mcmc_redraw"
    reward_k: Annotated[
        float, "share of the difference between the versions in an operator's reward", Range(ge=0, le=1)
    ] = 1 / 3
    ablate: Annotated[Ablated, "the part to remove, for an ablation table"] = "nothing"
    as_published: Annotated[bool, "let noise overflow and seeds decay only where a fault was found"] = False

    @property
    def operators(self) -> Sequence[Operator]:
        return mutation_operators.drfuzz(wrap=self.as_published)

    def check(self) -> Iterator[tuple[str, str]]:
        yield from super().check()
        if self.ablate == "mcmc" and self.operator_selection == "uniform":
            yield "ablate", "operators are already selected uniformly; set another `operator_selection`"
        if self.ablate == "fidelity" and isinstance(self.fidelity, AnyFidelity):
            yield "ablate", "there is no gate to remove; set a `fidelity`"

    @property
    def mutants_at_a_time(self) -> int:
        return self.mutants_per_seed

    @property
    def required_fidelity(self) -> Fidelity:
        return AnyFidelity() if self.ablate == "fidelity" else self.fidelity

    def strategy(self, roots: Roots, run: Run) -> Strategy:
        return _DRFuzzStrategy(self, roots)


class _DRFuzzStrategy(Strategy):
    """The pool, the chain and the record of a campaign."""

    def __init__(self, fuzzer: DRFuzz, roots: Roots) -> None:
        self._fuzzer, self._roots, self._operators = fuzzer, roots, fuzzer.operators
        selection: Selection = "uniform" if fuzzer.ablate == "mcmc" else fuzzer.operator_selection
        self._chain = OperatorChain(len(self._operators), selection)
        self._record = self._divergence(roots.answers.p1, roots.answers.p2, roots.y)
        self._pool = MutantPool(roots.x.shape[1:])
        n = len(roots)
        self._pool.add(
            roots.x,
            parent=np.full(n, -1),
            operator=np.full(n, -1),
            source=np.arange(n),
            generation=np.zeros(n),
            strongest=self._record.argmax(axis=1),
            right=roots.answers.p2[np.arange(n), roots.y],
            drop=roots.drops,
        )

    def propose(self, most: int, rng: np.random.Generator) -> Mutants | None:
        of_each, pool = self._fuzzer.mutants_per_seed, self._pool
        # At most 5 % of the pool, whatever `round_seeds` is.
        seeds = min(self._fuzzer.round_seeds, max(1, len(pool.living) // 20), most // of_each)
        entries = pool.choose(seeds, rng)
        if not len(entries):
            return None
        chosen = self._chain.walk(len(entries), rng)
        entry, operator = np.repeat(entries, of_each), np.repeat(chosen, of_each)
        parents = pool.images(entry)
        x = mutation_operators.mutate(self._operators, operator, parents, rng)
        return Mutants(
            x=x,
            source=pool["source"][entry].astype(np.int64),
            entry=entry,
            operator=operator,
            generation=pool["generation"][entry].astype(np.int64) + 1,
            drop=pool["drop"][entry],
            changed=(x != parents).any(axis=(1, 2, 3)),
        )

    def learn(self, mutants: Mutants, outcomes: MutantOutcomes, found: NDArray[np.bool_]) -> None:
        of_each, without = self._fuzzer.mutants_per_seed, self._fuzzer.ablate
        y, answers = self._roots.y[mutants.source], outcomes.answers
        fault = outcomes.kind == FAULT
        divergence = self._divergence(answers.p1, answers.p2, y)
        kept = self._kept(mutants.source, outcomes.kind, divergence)
        # Only mutants that enter the pool and faults can reward their operator.
        rewarded = (kept | fault) & (self._reward(mutants, outcomes, y) > 0)
        # All mutants of one image come from one operator, which counts once.
        in_groups = (len(mutants) // of_each, of_each)
        group_fault = fault.reshape(in_groups).any(axis=1)
        self._chain.count(
            mutants.operator[::of_each],
            (outcomes.kind != UNFAITHFUL).reshape(in_groups).any(axis=1),
            rewarded.reshape(in_groups).any(axis=1),
        )
        entries = mutants.entry[::of_each]
        if without != "decay":
            self._pool.decay(entries[group_fault] if self._fuzzer.as_published else entries)
        if without != "trimming":
            self._trim(entries, fault, answers.p2.argmax(axis=1))
        # All wrong labels: classes minus the true one.
        banned = found.sum(axis=1) >= found.shape[1] - 1 if without != "banning" else np.zeros(len(found), np.bool_)
        rows = np.flatnonzero(kept & ~banned[mutants.source])
        self._pool.add(
            mutants.x[rows],
            parent=mutants.entry[rows],
            operator=mutants.operator[rows],
            source=mutants.source[rows],
            generation=mutants.generation[rows],
            strongest=divergence[rows].argmax(axis=1),
            right=answers.p2[rows, y[rows]],
            drop=answers.p1[rows, y[rows]] - answers.p2[rows, y[rows]],
        )
        if banned[mutants.source[fault]].any():
            living = self._pool.living
            self._pool.kill(living[banned[self._pool["source"][living]]])

    def trace(self, entries: Rows) -> NDArray[np.int8]:
        return self._pool.trace(entries)

    @property
    def waiting(self) -> int:
        return len(self._pool.living)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        return self._pool.state() | {"record": self._record}, self._chain.state()

    def restore(self, arrays: Mapping[str, NDArray[Any]], plain: Mapping[str, Any]) -> None:
        self._pool.restore(arrays)
        self._record = arrays["record"]
        self._chain.restore(dict(plain))

    @staticmethod
    def _divergence(p1: NDArray[np.float32], p2: NDArray[np.float32], y: Rows) -> NDArray[np.float32]:
        """Return by how much the new version's probability of each wrong label exceeds the old one's, (n, classes)."""
        divergence = p2 - p1
        # The true label is no direction of a fault.
        divergence[np.arange(len(y)), y] = -np.inf
        return divergence

    def _kept(self, source: Rows, kind: NDArray[np.int8], divergence: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which mutants enter the pool, and update the record with those and with faults."""
        candidate, fault = kind >= CANDIDATE, kind == FAULT
        if self._fuzzer.ablate == "diversity":
            return np.asarray(candidate)
        kept = np.zeros(len(source), np.bool_)
        of_each = self._fuzzer.mutants_per_seed
        # Mutants of one image are compared with the record before them; images of one seed are processed in turn.
        turn = np.repeat(occurrence_numbers(source[::of_each]), of_each)
        for number in range(turn.max() + 1):
            rows = np.flatnonzero((turn == number) & (candidate | fault))
            new = (divergence[rows] > self._record[source[rows]]).any(axis=1)
            kept[rows] = new & candidate[rows]
            counted = rows[new]
            np.maximum.at(self._record, source[counted], divergence[counted])
        return kept

    def _reward(self, mutants: Mutants, outcomes: MutantOutcomes, y: Rows) -> NDArray[np.float32]:
        rows, k = np.arange(len(y)), self._fuzzer.reward_k
        p1, p2 = outcomes.answers.p1[rows, y], outcomes.answers.p2[rows, y]
        lost = self._pool["right"][mutants.entry] - p2
        return np.asarray((1 - k) * lost + k * (p1 - p2))

    def _trim(self, entries: Rows, fault: NDArray[np.bool_], wrong: Rows) -> None:
        """Remove ancestors of faults from the pool if their strongest direction is the wrong label of such a fault."""
        rows = np.flatnonzero(fault)
        reached = np.zeros((len(entries), self._record.shape[1]), np.bool_)
        reached[rows // self._fuzzer.mutants_per_seed, wrong[rows]] = True
        groups = np.flatnonzero(reached.any(axis=1))
        self._pool.kill(self._pool.ancestors(entries[groups], reached[groups]))


def occurrence_numbers(source: Rows) -> Rows:
    """Return how many rows before each have the same source, int64 (n,)."""
    order = np.argsort(source, kind="stable")
    ordered = source[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[first, len(source)])
    turn = np.empty(len(source), np.int64)
    turn[order] = np.arange(len(source)) - np.repeat(first, lengths)
    return turn
