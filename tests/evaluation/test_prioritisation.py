"""How soon faults are found, counted by hand; and the whole of test adequacy, run by the engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dnn_tip.apfd import apfd_from_order

from temper.core.component import Ref
from temper.core.run import Run
from temper.evaluation.prioritisation import Prioritisation, apfd
from temper.evaluation.scores.score_controls import NeuronCoverageScore, RandomScore
from temper.evaluation.scores.uncertainty import Entropy
from temper.nn.adequacy.coverage import CellCoverage, Criterion
from temper.nn.adequacy.score_order import FaultOrder, InputScores
from temper.nn.inspection.activations import Activations
from temper.nn.shared_stages.test_priority import CoveragePriority, ScorePriority
from tests.evaluation.surprise.support import seen
from tests.evaluation.test_evaluations import measured, ref

TRAIN = Ref[Any]("data", "train")


def cell(**fields: Any) -> Prioritisation:
    return Prioritisation(
        **{"models": (Ref("m"),), "examples": (ref("adv"),), "scores": (Entropy(),), "data": TRAIN} | fields
    )


def ordered(order: list[int], faults: list[int], *remarks: str) -> FaultOrder:
    wrong = np.zeros(len(order), np.bool_)
    wrong[faults] = True
    return FaultOrder("entropy", np.array(order), wrong, remarks)


def test_average_percentage_of_faults_detected() -> None:
    # Places 1 and 3 of 5: 1 - 4 / 10 + 1 / 10.
    assert apfd(ordered([3, 0, 1, 2, 4], [3, 1])) == pytest.approx(0.7)
    # The test suite of Rothermel et al. in which each of n tests finds one fault of its own: half.
    assert apfd(ordered([0, 1, 2, 3], [0, 1, 2, 3])) == pytest.approx(0.5)
    first, last = ordered(list(range(10)), [0, 1]), ordered(list(range(10)), [8, 9])
    assert apfd(first) == pytest.approx(1 - 2 / 20)
    assert apfd(last) == pytest.approx(2 / 20)


@pytest.mark.parametrize(("n", "faults"), [(1, 1), (2, 1), (17, 17), (40, 3), (500, 60)])
def test_apfd_is_dnn_tips(n: int, faults: int) -> None:
    rng = np.random.default_rng(n)
    wrong = np.isin(np.arange(n), rng.choice(n, faults, replace=False))
    order = rng.permutation(n)
    assert apfd(FaultOrder("x", order, wrong, ())) == pytest.approx(apfd_from_order(wrong, order))


def test_apfd_is_the_area_under_the_curve_of_faults() -> None:
    rng = np.random.default_rng(0)
    made = FaultOrder("x", rng.permutation(200), rng.random(200) < 0.2, ())
    assert apfd(made) == pytest.approx(np.trapezoid(made.found / made.found[-1], np.linspace(0, 1, 201)))


def test_what_is_found_among_the_first() -> None:
    # 30 inputs: the first 5 % are two (rounded up), 10 % three, 20 % six.
    rows = measured(cell(), {"!prepared:ordered": ordered(list(range(30)), [0, 2, 5, 6, 29], "ties")})
    found = {metric: row.value for (metric, _), row in rows.items()}
    assert found == {
        "faults": 5 / 30, "apfd": pytest.approx(1 - (1 + 3 + 6 + 7 + 30) / 150 + 1 / 60),
        "first_5": 1 / 5, "first_10": 2 / 5, "first_20": 3 / 5,
    }  # fmt: skip
    assert rows["apfd", "entropy"].note == f"best possible {1 - 5 / 60:.4f}; ties"


def test_without_faults_there_is_nothing_to_find() -> None:
    rows = measured(cell(), {"!prepared:ordered": ordered([1, 0], [])})
    assert {metric: row.value for (metric, _), row in rows.items()} == {"faults": 0.0}


class Even(Criterion):
    """Covers a cell for each class predicted."""

    tag = "even"

    def coverage(self, profile: Any, like: Activations) -> CellCoverage:
        return CellCoverage(10, lambda seen: seen.predicted[:, None])


def test_only_random_cells_depend_on_the_seed() -> None:
    whole = cell(scores=(Entropy(), NeuronCoverageScore(), RandomScore()), criteria=(Even(),))
    assert [c.stochastic for c in whole.expand()] == [False, True, True, False]
    for one in whole.expand():
        assert one.preparations()["ordered"].stochastic == one.stochastic


def orders(preparation: Any, learnt: Any, predicted: list[int], labels: list[int], seed: int = 0) -> FaultOrder:
    found = {
        "!prepared:seen": seen(np.zeros((len(predicted), 1)), predicted),
        "!prepared:learnt": learnt,
        "adv.test": SimpleNamespace(y=np.array(labels)),
    }
    made: FaultOrder = preparation.produce(
        Run("e", seed, None, lambda name: found[str(name)], lambda _: {}, lambda *_: None)
    )
    return made


def test_inputs_by_score_with_equals_by_chance() -> None:
    by_score = ScorePriority(model=Ref("m"), data=TRAIN, examples=ref("adv"), score=NeuronCoverageScore())
    scored = InputScores("nc_score", np.array([0.5, 0.9, np.nan, 0.5]), ("few values",))
    found = [orders(by_score, scored, [0, 1, 1, 0], [0, 0, 1, 1], seed) for seed in range(20)]
    assert {tuple(made.order.tolist()) for made in found} == {(1, 0, 3, 2), (1, 3, 0, 2)}
    assert found[0].faults.tolist() == [False, True, False, True]
    assert found[0].remarks == ("few values", "50% of the inputs have tied scores, in random order")


def test_inputs_by_what_they_add_to_coverage() -> None:
    by_coverage = CoveragePriority(model=Ref("m"), data=TRAIN, examples=ref("adv"), criterion=Even())
    made = orders(by_coverage, SimpleNamespace(arrays={}), [3, 3, 1, 3, 2], [3, 3, 1, 3, 0])
    assert made.order.tolist() == [0, 2, 4, 1, 3]
    assert made.found.tolist() == [0, 0, 0, 1, 1, 1]


ADEQUACY = """
name: adequacy
seeds: [1]
datasets:
  digits: {type: digits, train_size: 600, test_size: 120}
targets:
  mlp: {type: dense, dataset: digits, layers: 2, units: 16, epochs: 6, batch_size: 8, learning_rate: 0.01}
generate:
  fgsm: {type: fgsm, model: mlp, eps: 0.2}
evaluate:
  scores:
    type: scores
    models: [mlp]
    examples: [digits, digits.train, fgsm]
    clean: digits
    scores: &scores
      - {type: lsa}
      - {type: dsa}
      - {type: dsa, self_match: include}
      - {type: mdsa}
      - {type: deepgini}
      - {type: entropy}
      - {type: margin}
      - {type: least_confidence}
      - {type: nc_score}
      - {type: random}
  priority:
    type: prioritisation
    models: [mlp]
    examples: [digits]
    scores: *scores
    criteria: [{type: nc}, {type: kmnc}]
"""


@pytest.mark.slow
def test_the_engine_scores_summarises_orders_and_draws(
    run: Callable[..., tuple[int, str]], write: Callable[..., Path], tmp_path: Path
) -> None:
    code, said = run(write(ADEQUACY))
    assert code == 0, said
    folder = tmp_path / "outputs" / "adequacy"
    rows = pd.read_csv(folder / "results.csv", keep_default_na=False, na_values=["nan"])
    means = rows[rows.metric == "mean"].set_index(["examples", "group"])["value"]
    assert means["digits.train", "dsa (self_match include)"] == 0.0
    assert means["digits.train", "dsa"] > 0.05
    assert means["fgsm", "dsa"] > means["digits", "dsa"]
    areas = rows[rows.metric == "auc_roc"].set_index(["examples", "group"])["value"]
    assert areas["fgsm", "dsa"] > 0.6
    assert 0.4 < areas["fgsm", "random"] < 0.6
    found = rows[rows.metric == "apfd"].set_index("group")["value"]
    assert len(found) == 12
    assert found["deepgini"] > 0.7 > 0.65 > found["random"] > 0.3
