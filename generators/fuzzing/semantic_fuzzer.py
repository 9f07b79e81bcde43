"""The fuzzer: augments seeds and keeps images that are realistic and increase coverage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any
from zlib import crc32

import numpy as np

from temper.artefacts.corner_cases import CornerCases
from temper.core.artefacts import Examples
from temper.core.attack import attack_facts, shown_predictions
from temper.core.augmenter import Augmenter, AugmenterContext, Seeds
from temper.core.classifier import Classifier
from temper.core.component import AtOnce, Range, Ref
from temper.core.data_info import DataInfo
from temper.core.display_names import display_name
from temper.core.errors import StageError, UndertrainedModelError
from temper.core.families import Generator
from temper.core.realism import Realism
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.generators.fuzzing.findings import Findings
from temper.generators.fuzzing.fuzzing_loop import FuzzingLoop
from temper.generators.fuzzing.guidance import Guidance, Rule, smallest_above
from temper.generators.fuzzing.seed_selection import RandomSeeds, Rows, SeedPool, SeedSelection
from temper.nn.adequacy.coverage import Criterion
from temper.nn.inspection.activations import Activations
from temper.nn.shared_stages.activation_readout import ActivationReadout
from temper.nn.shared_stages.training_profile import CriterionProfile

_POOL, _BASE = "pool", "base"


@dataclass(frozen=True, kw_only=True)
class Fuzzer(Generator):
    """Test inputs derived from seeds by an augmenter, kept if they are realistic and increase coverage.

    Gate 1: seeds are images of the pool that add to the coverage of those before them (with a separate state; if none
    does, the seeds are taken in order). Each iteration augments every seed of the queue once. Gate 2: the new image
    meets the bound of every measure of ``realism``. Gate 3: it newly covers at least ``min_gain`` items, after those
    before it. An image that passes is a corner case; a corner case that the model gets wrong is a failure. Without
    ``guidance`` gates 1 and 3 are open.

    Coverage admits almost every clean image, too, and some criteria favour noise: the log has the share of unchanged
    clean images that would have been admitted as ``control``. They are the images of the pool that are not seeds.

    RN is ``random`` seeds with noise, RInp ``random`` with ``inpaint``, SemOcc ``random`` with erasing and occlusion,
    KnwInp ``peak`` seeds with ``inpaint`` and the guidance ``knw``.

    Source: GenerativeRepair, the figure and the list of fuzzers of its documentation; its released code has no
    feedback. Differs: the pool is never the part that a repair is tested on; realism is checked before coverage; the
    initial state is the coverage of the pool without its seeds.
    """

    tag = "fuzzer"
    produces = CornerCases

    model: Annotated[Ref[Classifier], "the model under test"]
    data: Annotated[Ref[Examples] | None, "the pool of seeds; default: the model's data set"] = None
    augmenter: Augmenter
    seeds: SeedSelection = field(default_factory=RandomSeeds)
    seed_count: Annotated[int, "maximum number of seeds that pass gate 1", Range(ge=1)] = 100
    iterations: Annotated[int, "times that each seed is augmented", Range(ge=1)] = 5
    guidance: Annotated[tuple[Criterion, ...], "the criteria of gates 1 and 3; empty: none"] = ()
    rule: Annotated[Rule, "whether any or all of the criteria must increase"] = "any"
    min_gain: Annotated[
        int | None,
        "items a corner case must newly cover; default: more than `control_quantile` of clean images do",
        Range(ge=1),
    ] = None
    control_quantile: Annotated[
        float, "quantile of the gains of clean images that must be exceeded", Range(ge=0, lt=1)
    ] = 0.9
    base: Annotated[
        Ref[Examples] | None, "images that are covered at the start; default: half of the pool's other images"
    ] = None
    realism: Annotated[tuple[Realism, ...], "measures whose bounds a corner case must meet; empty: none"] = ()
    requeue: Annotated[bool, "augment corner cases again"] = False
    max_depth: Annotated[int, "maximum number of successive augmentations of an image", Range(ge=1)] = 1
    batch_size: Annotated[int, "images augmented at once", Range(ge=1), AtOnce()] = 100
    keep_rejected: Annotated[bool, "store images that the gates rejected, too"] = False

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "iterations": 1, "seed_count": 20}

    def check(self) -> Iterator[tuple[str, str]]:
        if self.seeds.guided and not self.guidance:
            yield "seeds", f"{self.seeds.tag} seeds are chosen by a criterion; set `guidance`, or use random seeds"
        elif self.seeds.selective and not any(criterion.selective for criterion in self.guidance):
            tags = ", ".join(criterion.tag for criterion in self.guidance)
            yield (
                "seeds",
                f"{self.seeds.tag} seeds need a criterion that selects units (knw, idc), received {tags}, which uses "
                "all; "
                "use random or coverage seeds",
            )
        if self.requeue and self.max_depth == 1:
            yield (
                "max_depth",
                "1 allows one augmentation per image, so that `requeue` has no effect; raise it",
            )
        if self.max_depth > 1 and not self.requeue:
            yield "max_depth", "it is used with `requeue: true` only; set that, or remove it"
        for measure in self.realism:
            if self.model in measure.references():
                yield (
                    "realism",
                    f"{measure.tag} relies on the model under test, whose errors it must reveal; set another model",
                )
        if not self.guidance and (self.min_gain or self.base):
            yield "guidance", "`min_gain` and `base` are used by criteria only; set one"

    def references(self) -> Iterator[Ref[Any]]:
        yield from super().references()
        if self.data is not None:  # the graph fills in the model's data set
            yield self._train

    def preparations(self) -> Mapping[str, Preparation]:
        assert self.data is not None  # the graph fills in the model's data set
        train = self._train
        before: dict[str, Preparation] = {}
        for part in (self.augmenter, *self.realism):
            before |= part.preparations(self.model, train)
        if self.guidance:
            positions = any(criterion.positions for criterion in self.guidance)
            before[_POOL] = ActivationReadout(model=self.model, examples=self.data, positions=positions)
            if self.base:
                before[_BASE] = ActivationReadout(model=self.model, examples=self.base, positions=positions)
            before |= {
                display_name(criterion): CriterionProfile(model=self.model, data=train, criterion=criterion)
                for criterion in self.guidance
                if criterion.learns
            }
        return before

    @property
    def _train(self) -> Ref[Examples]:
        assert self.data is not None
        return replace(self.data, part="train")

    def produce(self, run: Run) -> CornerCases:
        assert self.data is not None
        pool, model, train = run[self.data], run[self.model], run[self._train]
        start = self._start(run, pool)
        rows = start.rows
        seeds = Seeds(
            x=np.asarray(pool.x[rows]),
            y=pool.y[rows],
            index=pool.index[rows],
            variant=np.zeros(len(rows), np.int64),
            depth=np.zeros(len(rows), np.int64),
            entropy=(run.seed, crc32(run.stream.encode())),
            masks=None if pool.masks is None else np.asarray(pool.masks[rows]),
        )
        names = train.info.get("class_names", map(str, range(model.num_classes)))
        campaign = FuzzingLoop(
            context=AugmenterContext(run, model, train, DataInfo(pool.shape, tuple(names))),
            augmenter=self.augmenter,
            realism=self.realism,
            guidance=start.guidance,
            control=start.control,
            iterations=self.iterations,
            batch_size=self.batch_size,
            deepest=self.max_depth if self.requeue else 0,
            found=Findings(self.keep_rejected),
        )
        found = campaign.fuzz(seeds)
        info = {"seeds": len(rows), "gate1_exhausted": start.exhausted, "min_gain": list(start.guidance.least)}
        about = attack_facts(self.tag, "true", display_name(self.augmenter), None)
        criteria = tuple(map(display_name, self.guidance))
        return replace(found, info=about | info | shown_predictions(model, found.x, found.y), criteria=criteria)

    def _start(self, run: Run, pool: Examples) -> _Start:
        rng = run.rng("seeds")
        unguided = Guidance.of((), self.rule)
        if not self.guidance:
            order = self.seeds.order(SeedPool(len(pool), None, ()), rng)
            return _Start(order[: self.seed_count], unguided, None, exhausted=False)
        seen = run.prepared(_POOL)
        learnt = [(c, run.prepared(display_name(c)).arrays if c.learns else {}) for c in self.guidance]
        gate = Guidance.of([criterion.coverage(profile, seen) for criterion, profile in learnt], self.rule)
        if self.base:
            gate.count(run.prepared(_BASE))
        order = self.seeds.order(SeedPool(len(pool), seen, learnt), rng)
        if not len(order):
            raise UndertrainedModelError(
                f"seeds {self.seeds.tag}: none of the {len(pool)} images has a unit that the guidance selects as the "
                "most active "
                "of its layer (layers with all units selected do not count); use random or coverage seeds, or another "
                "criterion"
            )
        # A separate state, so that choosing a seed does not use up what its mutants may cover.
        rows = gate.separate().first(seen, order, self.seed_count)
        exhausted = not len(rows)
        rows = order[: self.seed_count] if exhausted else rows
        others = rng.permutation(np.setdiff1d(np.arange(len(pool)), rows))
        # Half of the other images is covered at the start, the other half is the control.
        covered, clean = (others[:0], others) if self.base else np.array_split(others, 2)
        # Sorted, since activations are memory-mapped.
        gate.count(seen.take(np.sort(covered)))
        control = seen.take(np.sort(clean))
        return _Start(rows, replace(gate, least=self._least(gate, control)), control, exhausted)

    def _least(self, gate: Guidance, control: Activations) -> tuple[int, ...]:
        if self.min_gain:
            return (self.min_gain,) * len(self.guidance)
        if not len(control):
            raise StageError(
                f"seed_count: {self.seed_count} seeds leave no clean images in the pool to compare with; use fewer, "
                "or set "
                "`min_gain`"
            )
        return smallest_above(gate.gains(control), self.control_quantile)


@dataclass(frozen=True)
class _Start:
    """The seeds' rows in the pool, gate 3, the activations of the clean control, and whether gate 1 admitted none."""

    rows: Rows
    guidance: Guidance
    control: Activations | None
    exhausted: bool
