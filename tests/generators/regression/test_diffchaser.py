"""DiffChaser: crossover, the end of a seed's turn, and resuming after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.generators.regression.diffchaser import DiffChaser, uncertainty
from temper.generators.regression.drfuzz import DRFuzz
from temper.generators.regression.fault_accounting import MutantOutcomes, Mutants
from temper.generators.regression.model_versions import CANDIDATE, FAULT, UNFAITHFUL, VersionOutputs
from tests.generators.regression.toys import CLASSES, TOGETHER, content, fuzz, images, interrupted, roots, versions

NO_RUN: Any = None


def fuzzer(**values: Any) -> DiffChaser:
    defaults = {"mutants": 4000, "population": 12, "round_seeds": 4, "mutation_rate": 0.2}
    return DiffChaser(**(TOGETHER | defaults | values))


def test_k_uncertainty() -> None:
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], np.float32)
    assert uncertainty(p, np.array([2, 2])) == pytest.approx([0.2, 0.7])
    assert uncertainty(p, np.array([3, 3])) == pytest.approx([0.3, 0.7])
    assert uncertainty(p, np.array([9, 1])) == pytest.approx([0.3, 0.0]), "there is no ninth of three"


def test_reported_faults_are_faults() -> None:
    found = fuzz(fuzzer())
    old, new = versions()
    assert len(found) >= 20
    assert np.array_equal(old.predict(found.x), found.y)
    assert np.array_equal(new.predict(found.x), found.v2)
    assert (found.v2 != found.y).all()
    assert found.generation.max() > 1
    assert ((found.trace >= 0).sum(axis=1) == found.generation).all()
    data = images()
    assert np.abs(found.x - data.x[data.rows_of(found.index)]).max() <= 51 / 255 + 1e-6
    last = found.curve[-1]
    assert last.rfi == len(found)
    assert last.mutants == 4000


def test_seeds_and_initial_faults_equal_those_of_drfuzz() -> None:
    bred, chained = fuzz(fuzzer(mutants=100)), fuzz(DRFuzz(**(TOGETHER | {"mutants": 100})))
    assert bred.seed_count == chained.seed_count
    assert np.array_equal(bred.initial_index, chained.initial_index)


def test_each_entry_of_a_child_comes_from_a_parent_unless_mutated() -> None:
    strategy = fuzzer(mutation_rate=0.001).strategy(roots(), NO_RUN)
    rng = np.random.default_rng(0)
    population = {slot: np.repeat(roots().x[:0], 12, axis=0) for slot in range(4)}
    for generation in range(1, 4):
        mutants = strategy.propose(40, rng)
        assert mutants is not None
        assert (mutants.generation == generation).all()
        groups = mutants.x.reshape(4, 10, -1)
        if generation > 1:
            known = [
                (children[:, None] == population[slot][None]).any(axis=1).mean() for slot, children in enumerate(groups)
            ]
            assert min(known) > 0.99
        # No label is asked for: what is fit is made up, and nobody disagrees.
        strategy.learn(mutants, _judged(mutants, rng.random((40, CLASSES))), _nothing_found())
        for slot, children in enumerate(groups):
            seed = roots().x[mutants.source[slot * 10]].reshape(1, -1)
            population[slot] = np.concatenate([population[slot].reshape(-1, 64), seed, children])


def test_the_fittest_for_each_version_survive_and_reproduce() -> None:
    strategy = fuzzer(population=4, tournament=64, mutation_rate=0.9, round_seeds=1).strategy(roots(), NO_RUN)
    rng = np.random.default_rng(0)
    for _ in range(2):
        mutants = strategy.propose(2, rng)
        assert mutants is not None
        sure, torn = [0.97, 0.01, 0.01, 0.01], [0.27, 0.25, 0.24, 0.24]
        answers = np.array([torn, sure], np.float32), np.array([sure, torn], np.float32)
        strategy.learn(mutants, MutantOutcomes(np.full(2, CANDIDATE, np.int8), _answers(*answers)), _nothing_found())
        arrays, _ = strategy.state()
        assert np.array_equal(arrays["individuals"][0, 2:], mutants.x)
    # A parent is the fittest to the old version, the other to the new: elites of the generation before, or these.
    assert arrays["fitness"][0, 0, 0] == arrays["fitness"][0].min()
    assert arrays["fitness"][1, 0, 1] == arrays["fitness"][1].min()


def test_the_turn_of_a_seed_ends_with_a_disagreement_or_by_age() -> None:
    strategy = fuzzer(generations=3).strategy(roots(), NO_RUN)
    rng = np.random.default_rng(0)
    turns: list[list[int]] = []
    for round_number in range(4):
        mutants = strategy.propose(40, rng)
        assert mutants is not None
        turns.append(mutants.source[::10].tolist())
        p1, p2 = np.tile([0.6, 0.4, 0, 0], (40, 1)), np.tile([0.6, 0.4, 0, 0], (40, 1))
        kind = np.full(40, CANDIDATE, np.int8)
        if round_number == 0:
            p2[13] = [0.4, 0.6, 0, 0]  # of the second seed
            kind[13] = FAULT
            p2[25] = [0.4, 0.6, 0, 0]  # of the third, but it does not count
            kind[25] = UNFAITHFUL
        strategy.learn(mutants, MutantOutcomes(kind, _answers(p1, p2)), _nothing_found())
    assert [turn[0] for turn in turns] == [turns[0][0]] * 3 + [turns[3][0]]
    assert turns[3][0] != turns[0][0]
    assert turns[1][1] != turns[0][1]
    assert turns[1][2] == turns[0][2]
    assert len({*turns[0], turns[1][1], *turns[3]}) == 8, "no seed twice before all had their turn"


def test_seeds_restart_after_the_last() -> None:
    found = fuzz(fuzzer(generations=1, mutants=2000))
    assert found.curve[-1].mutants == 2000
    assert (found.generation == 1).all()


@pytest.mark.parametrize("after", [500, 3000])
def test_an_interrupted_campaign_resumes(after: int, tmp_path: Path) -> None:
    resumed, taken_up = interrupted(fuzzer(), after, tmp_path / "state")
    assert taken_up >= after
    assert content(resumed) == content(fuzz(fuzzer()))


def test_contradictory_settings_are_reported_before_anything_runs() -> None:
    assert [field for field, _ in fuzzer(mutants=9).check()] == ["mutants"]
    assert not list(fuzzer(mutants=10).check())


def test_a_budget_below_a_round_evolves_fewer_seeds() -> None:
    assert fuzz(fuzzer(mutants=55)).curve[-1].mutants == 50


def _answers(p1: Any, p2: Any) -> VersionOutputs:
    return VersionOutputs(np.asarray(p1, np.float32), np.asarray(p2, np.float32), np.zeros(len(p1), np.float32))


def _judged(mutants: Mutants, p: Any) -> MutantOutcomes:
    return MutantOutcomes(np.full(len(mutants), CANDIDATE, np.int8), _answers(p, p))


def _nothing_found() -> Any:
    return np.zeros((len(roots()), CLASSES), np.bool_)
