"""The coverage table against a table worked by hand, and through the whole program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from temper.core.component import Ref
from temper.engine.command_line.main import DONE
from temper.engine.planning.task_graph import TaskGraph
from temper.evaluation.coverage.coverage_table import CoverageTable
from temper.evaluation.coverage.kmnc import KMNC
from temper.evaluation.coverage.knw import KNW
from temper.evaluation.coverage.nc import NC
from temper.nn.shared_stages.activation_readout import ActivationReadout
from temper.nn.shared_stages.test_priority import CoveragePriority
from temper.nn.shared_stages.training_profile import Profile
from tests.evaluation.coverage.support import activations
from tests.evaluation.test_evaluations import measured, ref

CRITERIA = (NC(layers=("a",), threshold=0.5), KMNC(layers=("a",), k=2))
BOUNDS = Profile({"low": np.zeros(3), "high": np.array([1.0, 1.0, 0.0])})
SEEN, BASE = activations([[0, 1, 0], [1, 0.2, 0]]), activations([[0.8, 0.1, 0]])


def cell(**fields: Any) -> CoverageTable:
    table = CoverageTable(models=(Ref("m"),), examples=(ref("e"),), data=Ref("d", "train"), criteria=CRITERIA, **fields)
    (found,) = table.expand()
    return found


NC_NAME, KMNC_NAME = "nc (layers a, threshold 0.5)", "kmnc (layers a, k 2)"
ARTEFACTS = {"!prepared:seen": SEEN, "!prepared:base": BASE, f"!prepared:{KMNC_NAME}": BOUNDS}


def test_every_criterion_has_its_row() -> None:
    rows = measured(cell(), ARTEFACTS)
    assert set(rows) == {("coverage", NC_NAME), ("coverage", KMNC_NAME)}
    nc, kmnc = rows["coverage", NC_NAME], rows["coverage", KMNC_NAME]
    assert nc.value == pytest.approx(2 / 3)
    assert (nc.n, nc.note) == (2, "2 of 3")
    assert kmnc.value == 1.0
    assert kmnc.note == "4 of 4; 1 of 3 units excluded, which are constant on the training images"


def test_what_is_added_to_a_base() -> None:
    rows = measured(cell(base=Ref("b", "test")), ARTEFACTS)
    assert rows["coverage", NC_NAME].value == pytest.approx(2 / 3)
    assert rows["added", NC_NAME].value == pytest.approx(1 / 3)  # the base has unit 0
    assert rows["added", KMNC_NAME].value == pytest.approx(0.5)


def test_a_criterion_is_prepared_only_if_it_learns() -> None:
    assert list(cell().preparations()) == ["seen", KMNC_NAME]
    assert list(cell(base=Ref("b", "test")).preparations()) == ["seen", "base", KMNC_NAME]


def test_positions_are_kept_for_the_criteria_that_use_them() -> None:
    whole = KNW(unit="position")
    table = CoverageTable(models=(Ref("m"),), examples=(ref("e"),), data=Ref("d", "train"), criteria=(whole, KMNC()))
    (found,) = table.expand()
    seen, of_whole, of_plain = found.preparations().values()
    assert isinstance(seen, ActivationReadout)
    assert seen.positions
    for profile, positions in ((of_whole, True), (of_plain, False)):
        (observed,) = profile.preparations().values()
        assert isinstance(observed, ActivationReadout)
        assert observed.positions is positions
    for criterion, positions in ((whole, True), (KMNC(), False)):
        order = CoveragePriority(model=Ref("m"), data=Ref("d", "train"), examples=Ref("e"), criterion=criterion)
        observed = order.preparations()["seen"]
        assert isinstance(observed, ActivationReadout)
        assert observed.positions is positions


def test_no_criterion_stands_twice() -> None:
    table = CoverageTable(models=(Ref("m"),), examples=(ref("e"),), criteria=(NC(), KMNC(), NC()))
    assert list(table.check()) == [("criteria", "'nc' occurs twice; give each different parameters, or remove one")]


EXPERIMENT = """
name: adequacy
seeds: [1]
datasets:
  digits: {type: digits, train_size: 200, test_size: 50}
targets:
  mlp: {type: dense, dataset: digits, layers: 2, units: 10, epochs: 2}
  other: {type: dense, dataset: digits, layers: 1, units: 10, epochs: 2}
generate:
  fgsm: {type: fgsm, model: mlp, eps: 0.2}
evaluate:
  adequacy:
    type: coverage
    models: [mlp, other]
    examples: [digits, fgsm]
    base: digits
    criteria: [{type: nc, threshold: 0.3}, {type: kmnc, k: 10}, {type: nbc}, {type: ssc}]
"""


def test_each_set_is_read_once_and_bounds_are_fitted_once_per_model(graph: Callable[..., TaskGraph]) -> None:
    labels = [task.label for task in graph(EXPERIMENT).tasks.values() if task.stage == "adequacy"]
    observed = [label for label in labels if "adequacy.seen" in label or "base" in label or "train" in label]
    assert len(observed) == len(set(observed))
    assert sum("kmnc" in label for label in labels) == 2
    assert sum("nc (threshold" in label for label in labels) == 0


@pytest.mark.slow
def test_it_runs(run: Callable[..., tuple[int, str]], write: Callable[..., Path], tmp_path: Path) -> None:
    code, said = run(write(EXPERIMENT.replace("{type: ssc}", "{type: ssc}, {type: knw, unit: position}")))
    assert code == DONE, said
    table = pd.read_csv(tmp_path / "outputs" / "adequacy" / "results.csv")
    values = table.set_index(["metric", "model", "examples", "group"])["value"]
    assert values["coverage", "mlp", "digits", "kmnc (k 10)"] > 0.5
    # The examples of the base itself add nothing, attacked ones more.
    assert (values["added", :, "digits"] == 0).all()
    assert values["added", "mlp", "fgsm", "nbc"] > 0
    wide = pd.read_csv(tmp_path / "outputs" / "adequacy" / "adequacy.csv")
    assert list(wide.columns)[:4] == ["coverage (%), white-box", "group", "digits", "fgsm"]
