"""Random testing: its mutations, and the accounting it shares with the other fuzzers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.generators.regression.drfuzz import DRFuzz
from temper.generators.regression.random_fuzzer import RandomFuzzer
from tests.generators.regression.toys import TOGETHER, content, fuzz, images, interrupted, versions


def fuzzer(**values: Any) -> RandomFuzzer:
    return RandomFuzzer(**(TOGETHER | {"mutants": 4000} | values))


def test_every_mutant_is_a_seed_mutated_once() -> None:
    found = fuzz(fuzzer())
    old, new = versions()
    assert len(found) > 10
    assert (found.generation == 1).all()
    assert found.trace.shape == (len(found), 1)
    assert np.array_equal(old.predict(found.x), found.y)
    assert np.array_equal(new.predict(found.x), found.v2)
    assert (found.v2 != found.y).all()
    assert not found.info["exhausted"]


def test_parameters_are_equally_likely_and_local_mutations_stay_within_bounds() -> None:
    found = fuzz(fuzzer())
    counts = {count.operator: count for count in found.operators}
    assert sum(count.mutants for count in found.operators) == 4000
    # Refused pixel operators are drawn again, so that affine ones, 37 of 69, come out more often.
    affine = sum(counts[name].mutants for name in ("translation", "scale", "shear", "rotation"))
    assert affine > 0.6 * 4000
    for one, two in (("scale", "shear"), ("shear", "rotation")):
        assert counts[one].mutants == pytest.approx(counts[two].mutants, rel=0.2)
    data = images()
    apart = np.abs(found.x - data.x[data.rows_of(found.index)]) * 255
    names = np.array([found.operators[trace[0]].operator for trace in found.trace])
    for row in np.flatnonzero(~np.isin(names, ("translation", "scale", "shear", "rotation"))):
        assert (apart[row] > 0.5).sum() < 0.02 * 64 or apart[row].max() < 51 + 1e-3


def test_drfuzz_operators_are_equally_likely() -> None:
    found = fuzz(fuzzer(operator_set="drfuzz", mutants=6000))
    made = [count.mutants for count in found.operators]
    assert len(made) == 15
    assert min(made) > 300


def test_the_seeds_equal_those_of_drfuzz_and_rounds_stay_within_the_budget() -> None:
    chained, blind = fuzz(DRFuzz(**(TOGETHER | {"mutants": 500}))), fuzz(fuzzer(mutants=777, round_mutants=500))
    assert blind.seed_count == chained.seed_count
    assert np.array_equal(blind.initial_index, chained.initial_index)
    assert blind.curve[-1].mutants == 777
    assert blind.curve[0].mutants == 500


@pytest.mark.parametrize("operator_set", ["deephunter", "drfuzz"])
def test_an_interrupted_campaign_resumes(operator_set: str, tmp_path: Path) -> None:
    whole = fuzzer(operator_set=operator_set, round_mutants=300)
    resumed, taken_up = interrupted(whole, 2000, tmp_path / "state")
    assert taken_up >= 2000
    assert content(resumed) == content(fuzz(whole))
