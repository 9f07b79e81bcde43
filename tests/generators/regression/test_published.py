"""DRFuzz's own pairs of models on MNIST: initial faults, yields of single mutations, campaigns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.artefacts.regression_faults import RegressionFaults
from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.run import Run
from temper.evaluation.coverage.kmnc import KMNC
from temper.generators.regression.deephunter import DeepHunter
from temper.generators.regression.diffchaser import DiffChaser
from temper.generators.regression.drfuzz import DRFuzz
from temper.generators.regression.random_fuzzer import RandomFuzzer
from temper.generators.regression.regression_fuzzer import RegressionFuzzer
from temper.nn.adequacy.reference_data import ReferenceData
from temper.nn.editing.logits import to_logits
from temper.nn.model_files.model_file import ModelFile
from temper.nn.shared_stages.activation_readout import read_activations
from temper.nn.shared_stages.training_profile import Profile

pytestmark = pytest.mark.shared

PAIRS = {
    "supply": ("lenet5_supply_v1.hdf5", "lenet5_supply_v2.h5"),
    "prune": ("lenet5_base.hdf5", "lenet5_prune.h5"),
}
V1: Any = Ref("v1")
V2: Any = Ref("v2")
DATA: Any = Ref("mnist", part="test")


@pytest.fixture(scope="module")
def mnist(shared: Path) -> Examples:
    with np.load(shared / "data" / "mnist.npz") as stored:
        x = stored["x_test"][..., None].astype(np.float32) / np.float32(255)
        return Examples(x=x, y=stored["y_test"].astype(np.int64), index=np.arange(len(x)))


def fuzz(fuzzer: type[RegressionFuzzer], pair: str, shared: Path, mnist: Examples, **values: Any) -> RegressionFaults:
    v1, v2 = (Classifier(to_logits(ModelFile(shared / "models" / "drfuzz" / name).load())) for name in PAIRS[pair])
    inputs: dict[str, Any] = {"v1": v1, "v2": v2, "mnist": mnist}
    if fuzzer is DeepHunter:
        seen = read_activations(v2, mnist.x)
        inputs["profile"] = Profile(KMNC().profile(ReferenceData(v2, mnist, seen, lambda ref: seen)))
    run = Run(
        "fuzz", 1, "test", lambda ref: inputs[ref.prepared or ref.stage], lambda ref: {}, lambda done, total, unit: None
    )
    return fuzzer(model=V2, reference=V1, data=DATA, **values).produce(run)


@pytest.mark.parametrize(("pair", "right", "initial"), [("supply", 8587, 55), ("prune", 9807, 40)])
def test_initial_faults_equal_those_of_the_published_models(
    pair: str, right: int, initial: int, shared: Path, mnist: Examples
) -> None:
    found = fuzz(RandomFuzzer, pair, shared, mnist, mutants=10)
    assert len(found.initial_index) == initial
    assert found.seed_count == right - initial


def test_drfuzz_finds_a_larger_share_of_regressions_than_random_testing(shared: Path, mnist: Examples) -> None:
    """The tools rank as published at a budget of seconds, and so do the two scenarios."""
    purity: dict[tuple[str, str], float] = {}
    faults: dict[tuple[str, str], int] = {}
    for pair in PAIRS:
        for fuzzer in (DRFuzz, RandomFuzzer):
            last = fuzz(fuzzer, pair, shared, mnist, mutants=20_000).curve[-1]
            assert last.mutants == 20_000
            faults[pair, fuzzer.tag], purity[pair, fuzzer.tag] = last.rfi, last.rfi / last.v2_failures
    for pair in PAIRS:
        assert purity[pair, "drfuzz"] > 1.3 * purity[pair, "random_fuzzer"]
    for tag in ("drfuzz", "random_fuzzer"):
        assert faults["supply", tag] > faults["prune", tag]


@pytest.mark.slow
@pytest.mark.parametrize(("pair", "faults", "both_fail"), [("supply", 12.7, 52), ("prune", 6.7, 60)])
def test_single_mutations_yield_the_measured_rates(
    pair: str, faults: float, both_fail: float, shared: Path, mnist: Examples
) -> None:
    found = fuzz(RandomFuzzer, pair, shared, mnist, mutants=20_000, operator_set="drfuzz")
    last = found.curve[-1]
    assert last.rfi / 20 == pytest.approx(faults, rel=0.35)
    assert (last.v2_failures - last.rfi) / 20 == pytest.approx(both_fail, rel=0.35)


@pytest.mark.slow
def test_sixty_thousand_mutants_find_as_many_faults_as_the_prototype(shared: Path, mnist: Examples) -> None:
    found = fuzz(DRFuzz, "supply", shared, mnist, mutants=60_000)
    last = found.curve[-1]
    assert last.rfi == pytest.approx(1150, rel=0.25)
    assert last.urf == pytest.approx(590, rel=0.25)


@pytest.mark.slow
def test_deephunter_finds_as_many_faults_as_its_prototype(shared: Path, mnist: Examples) -> None:
    last = fuzz(DeepHunter, "supply", shared, mnist, mutants=60_000, guidance=KMNC()).curve[-1]
    counts = (last.rfi, last.urf, last.seeds, last.v2_failures)
    assert counts == pytest.approx((669, 387, 321, 6982), rel=0.2)


@pytest.mark.long
def test_diffchaser_needs_many_mutants_for_few_faults(shared: Path, mnist: Examples) -> None:
    found = fuzz(DiffChaser, "supply", shared, mnist, mutants=200_000)
    last = found.curve[-1]
    assert 0 < last.urf < 200
    assert last.rfi / last.v2_failures > 0.5
    assert np.median(found.generation) > 10


@pytest.mark.long
def test_the_tools_rank_as_published(shared: Path, mnist: Examples) -> None:
    """Distinct faults of three tools, and the purity of the first two, after equally many mutants."""
    tools: tuple[tuple[type[RegressionFuzzer], dict[str, Any]], ...] = (
        (DRFuzz, {}), (DeepHunter, {"guidance": KMNC()}), (DiffChaser, {}),
    )  # fmt: skip
    drfuzz, deephunter, diffchaser = (
        fuzz(tool, "supply", shared, mnist, mutants=60_000, **values).curve[-1] for tool, values in tools
    )
    assert drfuzz.urf > 1.15 * deephunter.urf
    assert deephunter.urf > 5 * diffchaser.urf
    assert drfuzz.rfi / drfuzz.v2_failures > 1.5 * deephunter.rfi / deephunter.v2_failures
