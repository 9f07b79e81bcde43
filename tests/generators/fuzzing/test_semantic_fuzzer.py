"""The fuzzer: the order of its gates, its log, and independence of the batch size."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from temper.artefacts.corner_cases import CornerCases
from temper.core.artefacts import Examples
from temper.core.checkpoint import Checkpoint
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.core.run import Run
from temper.evaluation.coverage.boundary import SNAC
from temper.evaluation.coverage.knw import KNW
from temper.evaluation.coverage.nc import NC
from temper.generators.fuzzing.seed_selection import CoverageSeeds
from temper.generators.fuzzing.semantic_fuzzer import Fuzzer
from temper.generators.realism.ssim import SSIM
from temper.nn.shared_stages.activation_readout import ActivationReadout, read_activations
from temper.nn.shared_stages.training_profile import Profile
from temper.system import backend
from tests.conftest import stopped_again_and_again
from tests.parts.augmenters import Lift, Speckle

MODEL: Any = Ref("model")
DATA: Any = Ref("data", part="validation")
SIDE = 8
CLUSTERS = {"group": np.zeros(1, np.int64), "columns": np.zeros(1, np.int64), "centroids": np.array([[0.1, 0.5]])}
"""A KNW profile that selects the first unit."""


def brightness() -> Classifier:
    """Return a model that predicts 1 for images with a mean above 0.5, with a hidden unit of the mean."""
    keras = backend.keras()
    inputs = keras.Input((SIDE, SIDE, 1))
    mean = keras.layers.Dense(1, name="mean")(keras.layers.Flatten()(inputs))
    outputs = keras.layers.Dense(2, name="logits")(mean)
    model = keras.Model(inputs, outputs)
    model.get_layer("mean").set_weights([np.full((SIDE * SIDE, 1), 1 / SIDE**2), np.zeros(1)])
    model.get_layer("logits").set_weights([np.array([[0.0, 20.0]]), np.array([0.0, -10.0])])
    return Classifier(model)


def grey(*levels: float) -> Examples:
    """Return flat images of these levels with the labels that the model gives them."""
    x = np.tile(np.array(levels, np.float32)[:, None, None, None], (1, SIDE, SIDE, 1))
    return Examples(x=x, y=(x[:, 0, 0, 0] > 0.5).astype(np.int64), index=np.arange(len(levels)))


def fuzz(
    fuzzer: Fuzzer, pool: Examples, model: Classifier, seed: int = 0, checkpoint: Checkpoint | None = None
) -> CornerCases:
    """Run a fuzzer on a pool, which is the training part, too."""
    prepared: dict[str, Any] = {}
    for name, preparation in fuzzer.preparations().items():
        if isinstance(preparation, ActivationReadout):
            prepared[name] = read_activations(model, pool.x, positions=preparation.positions)
        else:
            prepared[name] = Profile({"low": np.zeros(6), "high": np.full(6, 0.3)} | CLUSTERS)
    inputs = {"model": model, "data": pool}

    def load(ref: Ref[Any]) -> Any:
        return prepared[ref.prepared] if ref.prepared else inputs[ref.stage]

    run = Run("fuzz", seed, "validation", load, lambda ref: {}, lambda done, total, unit: None, checkpoint=checkpoint)
    return fuzzer.produce(run)


def unguided(**values: Any) -> Fuzzer:
    return Fuzzer(
        **{"model": MODEL, "data": DATA, "augmenter": Lift(by=0.1), "iterations": 2, "seed_count": 10} | values
    )


def test_failures_are_corner_cases_that_the_model_gets_wrong() -> None:
    found = fuzz(unguided(), grey(0.1, 0.2, 0.35, 0.3, 0.45, 0.2), brightness())
    # Images 1, 3 and 5 are refused; 0, 2 and 4 are lifted by 0.1 and then by 0.2 and keep their label 0.
    assert sorted(zip(found.index.tolist(), found.x[:, 0, 0, 0].round(2).tolist(), strict=True)) == [
        (0, pytest.approx(0.2)), (0, pytest.approx(0.3)), (2, pytest.approx(0.45)), (2, pytest.approx(0.55)),
        (4, pytest.approx(0.55)), (4, pytest.approx(0.65)),
    ]  # fmt: skip
    first, second = found.iterations
    assert (first.refused, first.corner_cases, first.failures) == (3, 3, 1)
    assert (second.refused, second.corner_cases, second.failures) == (3, 3, 2)
    assert math.isnan(first.control)
    assert {c.reason for c in found.candidates if c.outcome == "refused"} == {"odd"}


def test_realism_is_checked_before_coverage() -> None:
    found = fuzz(unguided(realism=(SSIM(min=0.99),)), grey(0.1, 0.9, 0.9), brightness())
    outcomes = {(c.seed, c.iteration): c.outcome for c in found.candidates}
    assert outcomes[(0, 0)] == "unrealistic"
    assert outcomes[(1, 0)] == "refused"
    assert outcomes[(2, 0)] == "corner case"  # 0.9 and 1.0 are alike
    assert found.measures == ("ssim (min 0.99)",)
    assert all(len(c.realism) == 1 for c in found.candidates)


def test_a_corner_case_covers_something_new() -> None:
    pool = grey(0.0, 0.1, 0.2, 0.2, 0.0, 0.1, 0.1, 0.1)
    guided = unguided(guidance=(SNAC(layers=("mean",)),), min_gain=1, augmenter=Lift(by=0.15))
    found = fuzz(guided, pool, brightness())
    # None of the pool is above the largest value learnt, 0.3, so that gate 1 lets none in and all are seeds.
    assert found.info["gate1_exhausted"]
    assert len(found) == 1
    assert found.x[0, 0, 0, 0] > 0.3
    assert [iteration.coverage for iteration in found.iterations][-1] == (1.0,)
    assert sum(iteration.nothing_new for iteration in found.iterations) + len(found) == sum(
        c.outcome in ("adds nothing", "corner case") for c in found.candidates
    )


def test_a_criterion_of_positions_receives_positions() -> None:
    criterion = KNW(unit="position", layers=("mean",))
    guided = unguided(guidance=(criterion,), min_gain=1, augmenter=Lift(by=0.4), seeds=CoverageSeeds())
    found = fuzz(guided, grey(0.0, 0.1, 0.0, 0.1, 0.0, 0.1, 0.0, 0.1), brightness())
    assert len(found) == 1, "the first that comes nearer to the other cluster"


def test_the_clean_control_measures_how_selective_coverage_is() -> None:
    rng = np.random.default_rng(0)
    pool = grey(*rng.uniform(0, 1, 40))
    guided = unguided(guidance=(NC(threshold=0.5, layers=("mean",)),), seeds=CoverageSeeds(), seed_count=3)
    found = fuzz(guided, pool, brightness())
    assert found.info["min_gain"] == [1]
    assert found.iterations[0].control <= 0.1
    with pytest.raises(StageError, match="leave no clean images"):
        fuzz(unguided(guidance=(NC(threshold=0.0, layers=("mean",)),), seed_count=40), grey(0.5), brightness())


def test_findings_do_not_depend_on_the_batch_size() -> None:
    pool, model = grey(*np.linspace(0, 1, 20)), brightness()
    whole, parts = (
        fuzz(unguided(augmenter=Speckle(), seed_count=20, batch_size=size, requeue=True, max_depth=2), pool, model)
        for size in (100, 3)
    )
    assert sorted(whole.candidates, key=repr) == sorted(parts.candidates, key=repr)
    assert np.array_equal(np.sort(whole.x, axis=0), np.sort(parts.x, axis=0))
    assert max(c.depth for c in whole.candidates) == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"augmenter": Speckle(), "requeue": True, "max_depth": 2, "keep_rejected": True, "realism": (SSIM(),)},
        # Gate 3 must continue from what was covered, by one criterion and by two.
        {"guidance": (SNAC(layers=("mean",)),), "min_gain": 1, "augmenter": Lift(by=0.15), "iterations": 3},
        {
            "guidance": (NC(threshold=0.2, layers=("mean",)), KNW(unit="position", layers=("mean",))),
            "min_gain": 1, "augmenter": Speckle(), "keep_rejected": True,
        },
    ],
)  # fmt: skip
def test_an_interrupted_campaign_has_the_same_findings(settings: dict[str, Any], tmp_path: Path) -> None:
    pool, model = grey(0.0, 0.1, 0.2, 0.2, 0.0, 0.1, 0.15, 0.1, 0.6), brightness()
    pool = replace(pool, masks=np.ones((9, SIDE, SIDE), np.bool_))
    fuzzer = unguided(batch_size=2, **settings)
    whole = fuzz(fuzzer, pool, model)
    kept = Checkpoint(tmp_path, interval=3600)
    pieces, stops = stopped_again_and_again(lambda: fuzz(fuzzer, pool, model, checkpoint=kept))
    batches = sum(-(-iteration.queue // 2) for iteration in whole.iterations)
    assert stops == batches, "after every batch"
    assert repr(pieces.iterations) == repr(whole.iterations)
    assert repr(pieces.candidates) == repr(whole.candidates)
    for name in ("x", "y", "index", "rejected"):
        np.testing.assert_array_equal(getattr(pieces, name), getattr(whole, name))
    assert pieces.info == whole.info


def test_stored_corner_cases_are_restored(tmp_path: Path) -> None:
    found = fuzz(unguided(keep_rejected=True, realism=(SSIM(),)), grey(0.1, 0.2, 0.45), brightness())
    found.save(tmp_path)
    loaded = CornerCases.load(tmp_path)
    assert loaded.iterations[1] == found.iterations[1] or math.isnan(found.iterations[1].control)
    assert repr(loaded.candidates) == repr(found.candidates)
    assert np.array_equal(cast(Any, loaded.rejected), cast(Any, found.rejected))
    with (tmp_path / "candidates.csv").open(encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(found.candidates)
    assert float(rows[0]["ssim"]) == pytest.approx(found.candidates[0].realism[0], nan_ok=True)


def test_contradictory_settings_are_reported_before_anything_runs() -> None:
    assert [field for field, _ in unguided(seeds=CoverageSeeds()).check()] == ["seeds"]
    assert [field for field, _ in unguided(requeue=True).check()] == ["max_depth"]
    assert [field for field, _ in unguided(max_depth=2).check()] == ["max_depth"]
    assert [field for field, _ in unguided(min_gain=1).check()] == ["guidance"]
    assert not list(unguided().check())
