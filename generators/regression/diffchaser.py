"""DiffChaser: evolves a population from each seed towards the decision boundary until the versions disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from temper.core.component import Range
from temper.core.run import Run
from temper.generators.regression.fault_accounting import MutantOutcomes, Mutants, Roots
from temper.generators.regression.model_versions import UNFAITHFUL
from temper.generators.regression.mutation_operators import Operator
from temper.generators.regression.mutation_queue import Rows
from temper.generators.regression.pixel_mutations import Pixels, Values
from temper.generators.regression.regression_fuzzer import RegressionFuzzer
from temper.generators.regression.regression_loop import Strategy

# The fittest for each of the two versions.
_ELITES = 2
# k of k-uncertainty, which alternates.
_RANKS = (2, 3)
_LEVELS = 255
_STATE = ("source", "age", "individuals", "fitness", "waiting")


@dataclass(frozen=True, kw_only=True)
class DiffChaser(RegressionFuzzer):
    """Regression fuzzing by a genetic algorithm on each seed in turn, which stops when the versions disagree.

    An individual is fitter for a version, the smaller its k-uncertainty is: the version's largest probability minus its
    k-th; k alternates between 2 and 3. The fittest for each version survives. Every other place is taken by a mutant of
    two parents, each the fittest of a few randomly sampled ones, one for the old version and one for the new: each
    entry comes from either parent, then is changed at random, never by more than `beta` from the seed. When any
    individual has two labels, or after `generations`, it is the next seed's turn; after the last seed they are shuffled
    and start again. All faults of the last generation count.

    Source: Xie et al. (2019), DiffChaser: Detecting Disagreements for Deep Neural Networks, algorithm 1 and
    k-uncertainty. Differs: several seeds are evolved at a time. The original's parameters are unknown; these are a
    third party's, except the population.
    """

    tag = "diffchaser"

    population: Annotated[int, "individuals per seed", Range(ge=4)] = 100
    generations: Annotated[int, "generations of a population before the next seed's turn", Range(ge=1)] = 200
    round_seeds: Annotated[int, "seeds evolved at a time; a budget spread over many finishes none", Range(ge=1)] = 16
    tournament: Annotated[int, "individuals of which the fittest becomes a parent", Range(ge=1)] = 4
    mutation_rate: Annotated[float, "share of an individual's entries that are changed", Range(gt=0, le=1)] = 0.01
    beta: Annotated[float, "largest change of an entry from the seed, in pixel values", Range(gt=0, le=1)] = 0.2

    @property
    def operators(self) -> Sequence[Operator]:
        return (Operator("crossover_and_mutation", self._mutated, local=True),)

    @property
    def most(self) -> int:
        """Levels of 255 by which an entry may change."""
        return max(1, round(self.beta * _LEVELS))

    @property
    def mutants_at_a_time(self) -> int:
        return self.population - _ELITES

    def strategy(self, roots: Roots, run: Run) -> Strategy:
        return _GeneticStrategy(self, roots)

    def _mutated(self, x: Pixels, rng: np.random.Generator) -> Pixels:
        """Return images with some of their entries changed by up to ``beta``."""
        places = rng.integers(x.size, size=rng.binomial(x.size, self.mutation_rate))
        made = x.ravel().astype(np.int16)
        # int16, so that sums outside 0..255 are clipped and do not wrap.
        made[places] += rng.integers(-self.most, self.most, size=len(places), dtype=np.int16, endpoint=True)
        return np.clip(made, 0, _LEVELS).astype(np.uint8).reshape(x.shape)


class _GeneticStrategy(Strategy):
    """The populations of the current seeds.

    ``source`` (s,) is the seed's row, -1 where its turn is over; ``age`` (s,) the generation of its population;
    ``fitness`` (2, s, m) that of each individual for the old and the new version.
    """

    def __init__(self, fuzzer: DiffChaser, roots: Roots) -> None:
        self._fuzzer, self._roots = fuzzer, roots
        slots, size = min(fuzzer.round_seeds, len(roots)), fuzzer.population
        self._source, self._age = np.full(slots, -1), np.zeros(slots, np.int64)
        self._individuals = np.zeros((slots, size, *roots.x.shape[1:]), np.uint8)
        self._fitness = np.zeros((2, slots, size), np.float32)
        self._waiting = np.zeros(0, np.int64)

    def propose(self, most: int, rng: np.random.Generator) -> Mutants | None:
        fuzzer, each = self._fuzzer, self._fuzzer.mutants_at_a_time
        slots = np.arange(min(len(self._source), most // each))
        if not len(slots):
            return None
        self._refill(rng)
        source = np.repeat(self._source[slots], each)
        one, two = (self._parents(fitness, slots, rng) for fitness in self._fitness)
        either = rng.integers(2, size=one.shape, dtype=np.bool_)
        bred = fuzzer.operators[0].mutate(np.where(either, one, two), rng).astype(np.int16)
        seed, far = self._roots.x[source].astype(np.int16), fuzzer.most
        x = np.clip(bred, seed - far, seed + far).astype(np.uint8)
        age = np.repeat(self._age[slots], each)
        return Mutants(
            x=x,
            source=source,
            entry=age,
            operator=np.zeros(len(x), np.int64),
            generation=age + 1,
            drop=self._roots.drops[source],
            changed=(x != one).any(axis=(1, 2, 3)) & (x != two).any(axis=(1, 2, 3)),
        )

    def learn(self, mutants: Mutants, outcomes: MutantOutcomes, found: NDArray[np.bool_]) -> None:
        each = self._fuzzer.mutants_at_a_time
        slots = np.arange(len(mutants) // each)
        faithful = outcomes.kind != UNFAITHFUL
        p1, p2 = outcomes.answers.p1, outcomes.answers.p2
        rank = _rank(mutants.source)
        # inf, so that an unfaithful individual never survives.
        fitness = np.where(faithful, [uncertainty(p1, rank), uncertainty(p2, rank)], np.inf)
        elite = self._fitness[:, slots].argmin(axis=2).T
        children = mutants.x.reshape(len(slots), each, *mutants.x.shape[1:])
        living = self._individuals[slots[:, None], elite]
        self._individuals[slots] = np.concatenate([living, children], axis=1)
        kept = np.take_along_axis(self._fitness[:, slots], elite[None], axis=2)
        self._fitness[:, slots] = np.concatenate([kept, fitness.reshape(2, len(slots), each)], axis=2)
        self._age[slots] += 1
        apart = faithful & (p1.argmax(axis=1) != p2.argmax(axis=1))
        over = apart.reshape(-1, each).any(axis=1) | (self._age[slots] >= self._fuzzer.generations)
        self._source[slots[over]] = -1

    def trace(self, entries: Rows) -> NDArray[np.int8]:
        depth = int(entries.max(initial=0))
        return np.where(np.arange(depth) < entries[:, None], 0, -1).astype(np.int8)

    @property
    def waiting(self) -> int:
        return len(self._roots)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        return {name: getattr(self, f"_{name}") for name in _STATE}, {}

    def restore(self, arrays: Mapping[str, NDArray[Any]], plain: Mapping[str, Any]) -> None:
        for name in _STATE:
            setattr(self, f"_{name}", arrays[name])

    def _refill(self, rng: np.random.Generator) -> None:
        """Replace seeds whose turn is over by the next ones."""
        empty = np.flatnonzero(self._source < 0)
        while len(self._waiting) < len(empty):
            self._waiting = np.concatenate([self._waiting, rng.permutation(len(self._roots))])
        source, self._waiting = np.split(self._waiting, [len(empty)])
        self._source[empty], self._age[empty] = source, 0
        self._individuals[empty] = self._roots.x[source][:, None]
        answers, rank = self._roots.answers.take(source), _rank(source)
        for fitness, p in zip(self._fitness, (answers.p1, answers.p2), strict=True):
            fitness[empty] = uncertainty(p, rank)[:, None]

    def _parents(self, fitness: Values, slots: Rows, rng: np.random.Generator) -> Pixels:
        """Return a parent for each mutant of populations, the fittest of a few of its population."""
        size = (len(slots), self._fuzzer.mutants_at_a_time, self._fuzzer.tournament)
        rivals = rng.integers(self._fuzzer.population, size=size)
        best = fitness[slots[:, None, None], rivals].argmin(axis=2)
        chosen = np.take_along_axis(rivals, best[..., None], axis=2)[..., 0]
        return self._individuals[slots[:, None], chosen].reshape(-1, *self._individuals.shape[2:])


def uncertainty(p: Values, rank: Rows) -> Values:
    """Return k-uncertainties: the largest of probabilities (n, classes) minus the ``rank``-th, (n,)."""
    ordered = np.sort(p, axis=1)[:, ::-1]
    return np.asarray(ordered[:, 0] - ordered[np.arange(len(p)), np.minimum(rank, p.shape[1]) - 1])


def _rank(source: Rows) -> Rows:
    return np.asarray(_RANKS)[source % len(_RANKS)]
