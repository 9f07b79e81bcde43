"""DeepHunter: the queue and its guidance against a plain loop; resuming after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.run import Run
from temper.evaluation.coverage.kmnc import KMNC
from temper.evaluation.coverage.nc import NC
from temper.generators.regression.deephunter import DeepHunter
from temper.generators.regression.drfuzz import DRFuzz
from temper.generators.regression.fault_accounting import MutantOutcomes
from temper.generators.regression.model_versions import CANDIDATE, FAULT, FIXED, VersionOutputs
from tests.generators.regression.toys import PROFILE, TOGETHER, content, fuzz, interrupted, roots, versions

SECTIONS = 50


def fuzzer(**values: Any) -> DeepHunter:
    defaults = {"mutants": 3000, "guidance": KMNC(k=SECTIONS), "round_seeds": 8}
    return DeepHunter(**(TOGETHER | defaults | values))


def test_reported_faults_are_faults() -> None:
    found = fuzz(fuzzer())
    old, new = versions()
    assert len(found) > 20
    assert np.array_equal(old.predict(found.x), found.y)
    assert np.array_equal(new.predict(found.x), found.v2)
    assert (found.v2 != found.y).all()
    assert found.generation.max() > 1
    last = found.curve[-1]
    assert (last.mutants, last.rfi) == (3000, len(found))
    assert last.pool > found.seed_count
    assert ((found.trace >= 0).sum(axis=1) == found.generation).all()


def test_seeds_and_initial_faults_equal_those_of_drfuzz() -> None:
    guided, chained = fuzz(fuzzer(mutants=100)), fuzz(DRFuzz(**(TOGETHER | {"mutants": 100})))
    assert guided.seed_count == chained.seed_count
    assert np.array_equal(guided.initial_index, chained.initial_index)


def test_a_mutant_enters_the_queue_if_the_new_version_gets_it_right_and_it_covers_something_new() -> None:
    start, (_, new) = roots(), versions()
    strategy = fuzzer().strategy(start, _run(new))
    covered = {(unit, _section(p)) for row in start.answers.p2 for unit, p in enumerate(row)}
    rng = np.random.default_rng(0)
    size, entered = strategy.waiting, 0
    for _ in range(4):
        mutants = strategy.propose(10_000, rng)
        assert mutants is not None
        p2 = _probabilities(new, mutants.x)
        kinds = rng.choice([CANDIDATE, FIXED, FAULT], size=len(mutants)).astype(np.int8)
        for row in np.flatnonzero(kinds != FAULT):
            hit = {(unit, _section(p)) for unit, p in enumerate(p2[row])}
            entered += not hit <= covered
            covered |= hit
        strategy.learn(
            mutants, MutantOutcomes(kinds, VersionOutputs(p2, p2, p2[:, 0])), np.zeros((len(start), 4), np.bool_)
        )
    assert strategy.waiting == size + entered
    assert entered > 10


def test_frequently_chosen_images_are_chosen_less() -> None:
    strategy = fuzzer(round_seeds=1, mutants_per_seed=1, p_min=0.01).strategy(roots(), _run(versions()[1]))
    rng, chosen = np.random.default_rng(0), []
    for _ in range(5 * strategy.waiting):
        mutants = strategy.propose(10, rng)
        assert mutants is not None
        chosen += mutants.entry.tolist()
    # Blindly, the number would have a variance of its mean, which is 5.
    assert np.bincount(chosen).var() < 1.5


def test_as_published_only_queued_mutants_count_and_the_queue_fills_with_dead_ends() -> None:
    plain, published = fuzzer(), fuzzer(as_published=True)
    assert (plain.least, published.least, fuzzer(p_min=0.2).least) == (0.3, 0.01, 0.2)
    found, handicapped = fuzz(plain), fuzz(published)
    refused = [1 - sum(count.faithful for count in f.operators) / 3000 for f in (found, handicapped)]
    assert refused[1] > refused[0] + 0.1
    assert handicapped.curve[-1].mutants == 3000


def test_a_criterion_without_a_fit_can_guide() -> None:
    assert fuzz(fuzzer(guidance=NC(threshold=0.9), mutants=500)).curve[-1].mutants == 500
    assert list(fuzzer(guidance=NC()).preparations()) == []
    assert list(fuzzer().preparations()) == ["profile"]


@pytest.mark.parametrize("as_published", [False, True])
def test_an_interrupted_campaign_resumes(as_published: bool, tmp_path: Path) -> None:
    whole = fuzzer(as_published=as_published, mutants=2000)
    resumed, taken_up = interrupted(whole, 900, tmp_path / "state")
    assert taken_up >= 900
    assert content(resumed) == content(fuzz(whole))


def test_contradictory_settings_are_reported_before_anything_runs() -> None:
    assert [field for field, _ in fuzzer(mutants=19).check()] == ["mutants"]


def _run(new: Any) -> Run:
    inputs = {"v2": new, "profile": PROFILE}
    return Run(
        "fuzz", 1, "test", lambda ref: inputs[ref.prepared or ref.stage], lambda ref: {}, lambda done, total, unit: None
    )


def _section(p: float) -> int:
    return min(int(np.float32(p) * SECTIONS), SECTIONS - 1)


def _probabilities(model: Any, x: Any) -> Any:
    logits = model.logits(x.astype(np.float32) / np.float32(255))
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)
