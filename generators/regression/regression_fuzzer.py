"""The family of regression fuzzers: one set-up, one budget and one accounting."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, final

import numpy as np

from temper.artefacts.regression_faults import RegressionFaults
from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Range, Ref
from temper.core.display_names import display_name
from temper.core.errors import UndertrainedModelError
from temper.core.families import Generator
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.generators.regression.fault_accounting import FaultAccounting, Roots
from temper.generators.regression.fidelity_gates import AnyFidelity, Fidelity
from temper.generators.regression.model_versions import Versions, to_float
from temper.generators.regression.mutation_operators import Operator
from temper.generators.regression.pixel_mutations import quantised
from temper.generators.regression.regression_loop import Budget, RegressionLoop, Strategy


@dataclass(frozen=True, kw_only=True)
class RegressionFuzzer(Generator):
    """Mutates images that both versions of a model get right, in search of those that only the old one does.

    Images are quantised to 1/255, so that saved files reproduce the faults. Images that the new version already gets
    wrong are recorded separately as initial faults and are not mutated.
    """

    produces = RegressionFaults

    model: Annotated[Ref[Classifier], "the new version, which is under test"]
    reference: Annotated[Ref[Classifier], "the old version"]
    data: Annotated[Ref[Examples] | None, "images to start from; default: the model's data set"] = None
    mutants: Annotated[int, "maximum number of mutants", Range(ge=1)] = 1_000_000
    model_calls: Annotated[int | None, "maximum number of batches run on both versions", Range(ge=1)] = None
    seconds: Annotated[float | None, "time limit in seconds; makes results depend on the machine", Range(gt=0)] = None
    fidelity: Fidelity = field(default_factory=AnyFidelity)

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "mutants": 500}

    @property
    @abstractmethod
    def operators(self) -> Sequence[Operator]:
        """The mutation operators, in the order that traces refer to."""

    @property
    def mutants_at_a_time(self) -> int:
        """The number of mutants per seed at a time, the minimum of a campaign."""
        return 1

    @property
    def required_fidelity(self) -> Fidelity:
        """The required fidelity of mutants."""
        return self.fidelity

    @abstractmethod
    def strategy(self, roots: Roots, run: Run) -> Strategy:
        """Return the strategy that decides which mutants to generate."""

    def check(self) -> Iterator[tuple[str, str]]:
        if self.reference == self.model:
            yield "reference", "is the model under test itself, which has no regressions; set its older version"
        if self.mutants < self.mutants_at_a_time:
            yield (
                "mutants",
                f"{self.mutants} is less than the {self.mutants_at_a_time} mutants per seed; raise it",
            )

    def preparations(self) -> Mapping[str, Preparation]:
        return self.required_fidelity.preparations(self.model, self.train)

    @property
    def train(self) -> Ref[Examples]:
        """The training images, which preparations are fitted on."""
        assert self.data is not None  # the graph fills in the model's data set
        return replace(self.data, part="train")

    @final
    def produce(self, run: Run) -> RegressionFaults:
        assert self.data is not None
        pool = run[self.data]
        gate = self.required_fidelity.gate(run)
        versions = Versions(run[self.reference], run[self.model], gate.network)
        roots, initial = _seeds_and_initial_faults(pool, versions)
        if not len(roots):
            raise UndertrainedModelError(
                f"both versions are right on none of the {len(pool)} images, so that there is nothing to mutate"
            )
        accounting = FaultAccounting(roots, [operator.name for operator in self.operators])
        campaign = RegressionLoop(
            run=run,
            budget=Budget(self.mutants, self.model_calls, self.seconds),
            versions=versions,
            gate=gate,
            roots=roots,
            strategy=self.strategy(roots, run),
            accounting=accounting,
        )
        campaign.fuzz()
        about = {name: pool.info[name] for name in ("class_names",) if name in pool.info}
        info = about | {"fuzzer": display_name(self), "exhausted": campaign.exhausted}
        return replace(_regression_faults(campaign), **initial, info=info)


def _seeds_and_initial_faults(pool: Examples, versions: Versions) -> tuple[Roots, dict[str, Any]]:
    """Return the images that both versions get right, and those that only the old one does."""
    # Bytes, so that a fault is still one after it was saved as an image file.
    x = quantised(np.asarray(pool.x) * np.float32(255))
    answers = versions.predict(x)
    c1, c2 = answers.p1.argmax(axis=1), answers.p2.argmax(axis=1)
    old, new = c1 == pool.y, c2 == pool.y
    rows, faults = np.flatnonzero(old & new), np.flatnonzero(old & ~new)
    roots = Roots(x[rows], np.asarray(pool.y[rows]), np.asarray(pool.index[rows]), answers.take(rows))
    return roots, {"initial_index": pool.index[faults], "initial_v2": c2[faults]}


def _regression_faults(campaign: RegressionLoop) -> RegressionFaults:
    roots, accounting = campaign.roots, campaign.accounting
    images, (source, wrong, generation, found_at, entry, last) = accounting.faults
    before = campaign.strategy.trace(entry)
    trace = np.full((len(source), int(generation.max(initial=0))), -1, np.int8)
    trace[:, : before.shape[1]] = before
    # The last operator led to the fault, which never entered the queue.
    trace[np.arange(len(source)), generation - 1] = last
    return RegressionFaults(
        x=to_float(images),
        y=roots.y[source],
        index=roots.index[source],
        v1=roots.y[source],
        v2=wrong,
        generation=generation,
        found_at=found_at,
        trace=trace,
        operators=accounting.operators,
        curve=tuple(accounting.curve),
        seed_count=len(roots),
    )
