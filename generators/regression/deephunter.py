"""DeepHunter: mutants that increase the coverage of the new version are mutated again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from temper.core.component import Range
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.generators.regression import mutation_operators
from temper.generators.regression.deephunter_mutation import DeepHunterMutation, MutationSubjects
from temper.generators.regression.fault_accounting import MutantOutcomes, Mutants, Roots
from temper.generators.regression.model_versions import BOTH_FAIL, FAULT, UNFAITHFUL, to_float
from temper.generators.regression.mutation_operators import Operator
from temper.generators.regression.mutation_queue import Entries, Rows, weighted_sample
from temper.generators.regression.pixel_mutations import Pixels
from temper.generators.regression.regression_fuzzer import RegressionFuzzer
from temper.generators.regression.regression_loop import Strategy
from temper.nn.adequacy.coverage import Criterion
from temper.nn.inspection.activations import Activations
from temper.nn.shared_stages.activation_readout import read_activations
from temper.nn.shared_stages.training_profile import CriterionProfile, Profile

_PROFILE, _COVERED = "profile", "covered."
_P_MIN, _P_MIN_PUBLISHED = 0.3, 0.01


@dataclass(frozen=True, kw_only=True)
class DeepHunter(RegressionFuzzer):
    """Regression fuzzing guided by a coverage criterion of the new version, without the old one.

    An image of the queue that was chosen c times is chosen with 1 - c / gamma, but no less than p_min. Each mutant of
    it results from a randomly sampled operator and parameter: one that moves pixels, at most once in an image's
    lineage, or one that leaves them in place and changes fewer than 2 % of the entries or none by 51 of 255 levels or
    more, all such changes since the seed taken together. A mutation rejected 49 times counts as an unchanged mutant. A
    mutant that the new version gets right enters the queue if it covers what no seed or mutant before it did.

    A round mutates several images of the queue and learns from all of them at its end.

    Source: Xie et al. (2019), DeepHunter: A Coverage-Guided Fuzz Testing Framework for Deep Neural Networks, algorithms
    1 and 2. Differs: images are sampled from the queue in proportion to their probability, as in DRFuzz's evaluation,
    and not in turn; parameters and not operators are equally likely, as there. ``as_published`` is that evaluation's
    variant, with its handicaps: changes by a move count as change, so that moved images are dead ends; changes add up
    from one mutation to the next only there; p_min is 0.01, and c counts mutants that entered the queue. Its confusion
    of large images with each other is not reproduced.
    """

    tag = "deephunter"

    guidance: Criterion
    mutants_per_seed: Annotated[int, "mutants per image of the queue at a time", Range(ge=1)] = 20
    round_seeds: Annotated[int, "images of the queue mutated in a round, at most 5 % of them", Range(ge=1)] = 128
    gamma: Annotated[float, "times an image is chosen before its probability falls to `p_min`", Range(gt=0)] = 5.0
    p_min: Annotated[
        float | None, "smallest probability of an image; default: 0.3, as published 0.01", Range(gt=0, le=1)
    ] = None
    as_published: Annotated[bool, "with the handicaps of DRFuzz's evaluation"] = False

    @property
    def operators(self) -> Sequence[Operator]:
        return mutation_operators.deephunter()

    @property
    def mutants_at_a_time(self) -> int:
        return self.mutants_per_seed

    def preparations(self) -> Mapping[str, Preparation]:
        before = dict(super().preparations())
        if self.guidance.learns:
            before[_PROFILE] = CriterionProfile(model=self.model, data=self.train, criterion=self.guidance)
        return before

    @property
    def least(self) -> float:
        """The smallest probability of an image of the queue, before normalisation."""
        return (_P_MIN_PUBLISHED if self.as_published else _P_MIN) if self.p_min is None else self.p_min

    def strategy(self, roots: Roots, run: Run) -> Strategy:
        return _DeepHunterStrategy(self, roots, run)


class _Queue(Entries):
    """Images to mutate, with the bounds on their changes (``Subjects``).

    ``reference`` is the entry whose image is an entry's reference; ``chosen`` how often an entry was chosen.
    """

    columns: ClassVar[Mapping[str, type]] = {
        **Entries.columns,
        "reference": np.int32,
        "moved": np.bool_,
        "changed": np.int32,
        "levels": np.int16,
        "chosen": np.int32,
    }

    def subjects(self, entries: Rows) -> MutationSubjects:
        """Return entries as subjects to mutate."""
        reference = self.images(self["reference"][entries])
        changed, levels = (self[name][entries].astype(np.int64) for name in ("changed", "levels"))
        return MutationSubjects(self.images(entries), reference, self["moved"][entries], changed, levels)

    def add_mutants(self, made: MutationSubjects, reference: Rows, **columns: Any) -> None:
        """Add new mutants."""
        self.add(
            made.x, reference=reference, moved=made.moved, changed=made.changed, levels=made.levels,
            chosen=np.zeros(len(made)), **columns,
        )  # fmt: skip


class _DeepHunterStrategy(Strategy):
    """The queue and the coverage so far."""

    def __init__(self, fuzzer: DeepHunter, roots: Roots, run: Run) -> None:
        self._fuzzer, self._roots, self._model = fuzzer, roots, run[fuzzer.model]
        self._mutation = DeepHunterMutation(fuzzer.as_published)
        self._queue, self._made = _Queue(roots.x.shape[1:]), MutationSubjects.seeds(roots.x)
        own, none = np.arange(len(roots)), np.full(len(roots), -1)
        self._queue.add_mutants(
            self._made, own, parent=none, operator=none, source=own, generation=np.zeros(len(roots))
        )
        seen = self._seen(roots.x)
        profile: Profile | None = run.prepared(_PROFILE) if fuzzer.guidance.learns else None
        self._coverage = fuzzer.guidance.coverage({} if profile is None else profile.arrays, seen)
        self._coverage.update(seen)

    def propose(self, most: int, rng: np.random.Generator) -> Mutants | None:
        fuzzer, queue = self._fuzzer, self._queue
        # At most 5 % of the queue, whatever `round_seeds` is.
        seeds = min(fuzzer.round_seeds, max(1, queue.size // 20), most // fuzzer.mutants_per_seed)
        if not seeds:
            return None
        odds = np.maximum(1 - queue["chosen"] / np.float32(fuzzer.gamma), np.float32(fuzzer.least))
        entries = weighted_sample(odds, seeds, rng)
        if not fuzzer.as_published:
            queue["chosen"][entries] += 1
        entry = np.repeat(entries, fuzzer.mutants_per_seed)
        parents, source = queue.subjects(entry), queue["source"][entry].astype(np.int64)
        self._made, operator = self._mutation.mutate(parents, rng)
        return Mutants(
            x=self._made.x,
            source=source,
            entry=entry,
            operator=operator,
            generation=queue["generation"][entry].astype(np.int64) + 1,
            drop=self._roots.drops[source],
            changed=(self._made.x != parents.x).any(axis=(1, 2, 3)),
        )

    def learn(self, mutants: Mutants, outcomes: MutantOutcomes, found: NDArray[np.bool_]) -> None:
        right = np.flatnonzero(~np.isin(outcomes.kind, (UNFAITHFUL, BOTH_FAIL, FAULT)))
        seen = self._seen(mutants.x[right])
        new = self._coverage.sequential_gain(seen) > 0
        self._coverage.update(seen.take(new))
        queue, rows = self._queue, right[new]
        kept = mutants.take(rows)
        if self._fuzzer.as_published:
            np.add.at(queue["chosen"], kept.entry, 1)
        own = queue.size + np.arange(len(rows))
        reference = np.where(self._mutation.refers_to_itself(kept.operator), own, queue["reference"][kept.entry])
        queue.add_mutants(
            self._made.take(rows), reference, parent=kept.entry, operator=kept.operator, source=kept.source,
            generation=kept.generation,
        )  # fmt: skip

    def trace(self, entries: Rows) -> NDArray[np.int8]:
        return self._queue.trace(entries)

    @property
    def waiting(self) -> int:
        return self._queue.size

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        covered = {f"{_COVERED}{name}": array for name, array in self._coverage.state().items()}
        return self._queue.state() | covered, {}

    def restore(self, arrays: Mapping[str, NDArray[Any]], plain: Mapping[str, Any]) -> None:
        self._queue.restore(arrays)
        names = [name for name in arrays if name.startswith(_COVERED)]
        self._coverage.restore({name.removeprefix(_COVERED): arrays[name] for name in names})

    def _seen(self, x: Pixels) -> Activations:
        return read_activations(self._model, to_float(x), positions=self._fuzzer.guidance.positions)
