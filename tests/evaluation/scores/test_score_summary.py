"""Summaries of scores by hand, and which images are compared with themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from temper.core.component import Ref
from temper.core.run import Run
from temper.evaluation.scores.score_controls import RandomScore
from temper.evaluation.scores.score_summary import ScoreSummary
from temper.evaluation.scores.uncertainty import Entropy
from temper.evaluation.surprise.dsa import DSA
from temper.nn.adequacy.score_order import InputScores
from temper.nn.shared_stages.input_scores import InputScoring
from tests.evaluation.surprise.support import reference, seen
from tests.evaluation.test_evaluations import measured, ref

TRAIN = Ref[Any]("data", "train")


def cell(**fields: Any) -> ScoreSummary:
    return ScoreSummary(models=(Ref("m"),), examples=(ref("adv"),), scores=(DSA(),), data=TRAIN, **fields)


def scored(values: list[float], *remarks: str) -> InputScores:
    return InputScores("dsa", np.array(values), remarks)


def test_mean_median_and_the_share_that_is_judged() -> None:
    rows = measured(cell(), {"!prepared:scored": scored([4.0, np.nan, 1.0, 2.0], "one thing", "another")})
    assert set(rows) == {(metric, "dsa") for metric in ("mean", "median", "judged")}
    assert [rows[metric, "dsa"].value for metric in ("mean", "median", "judged")] == [pytest.approx(7 / 3), 2.0, 0.75]
    assert [rows[metric, "dsa"].n for metric in ("mean", "median", "judged")] == [3, 3, 4]
    assert rows["mean", "dsa"].note == "one thing; another"


def test_telling_a_set_from_clean_images() -> None:
    artefacts = {
        "!prepared:scored": scored([3.0, 1.0, np.nan]),
        "!prepared:clean": scored([1.0, 2.0, 0.0, np.nan], "few"),
    }
    row = measured(cell(clean=ref("data")), artefacts)["auc_roc", "dsa"]
    assert row.value == pytest.approx((3 + 1.5) / 6)
    assert row.n == 5
    assert row.note == "2 against 3; few"


def test_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    adversarial, clean = rng.integers(3, 12, 400).astype(float), rng.integers(0, 10, 300).astype(float)
    artefacts = {"!prepared:scored": scored(adversarial.tolist()), "!prepared:clean": scored(clean.tolist())}
    expected = roc_auc_score(np.r_[np.ones(400), np.zeros(300)], np.r_[adversarial, clean])
    assert measured(cell(clean=ref("data")), artefacts)["auc_roc", "dsa"].value == pytest.approx(expected)


def test_clean_images_are_not_compared_with_themselves_and_an_unscored_set_has_no_mean() -> None:
    artefacts = {"!prepared:scored": scored([1.0, 2.0]), "!prepared:clean": scored([1.0, 2.0])}
    assert ("auc_roc", "dsa") not in measured(cell(clean=ref("adv")), artefacts)
    rows = measured(cell(), {"!prepared:scored": scored([np.nan, np.nan])})
    assert [(metric, row.value) for (metric, _), row in rows.items()] == [("judged", 0.0)]


def test_a_cell_for_each_score_with_what_it_needs() -> None:
    whole = ScoreSummary(
        models=(Ref("m"),), examples=(ref("a"), ref("b")), scores=(Entropy(), DSA(self_match="include"), RandomScore()),
        clean=ref("a"), data=TRAIN,
    )  # fmt: skip
    assert whole.stochastic
    cells = list(whole.expand())
    assert [(c.about()["examples"], c.scores[0].tag, c.stochastic) for c in cells] == [
        (name, tag, tag == "random") for name in ("a", "b") for tag in ("entropy", "dsa", "random")
    ]
    before = cells[1].preparations()
    assert set(before) == {"scored", "clean"}
    assert set(before["scored"].preparations()) == {"seen", "profile"}
    assert set(cells[0].preparations()["scored"].preparations()) == {"seen"}, (
        "what does not learn looks at no training image"
    )


def test_training_images_and_only_these_are_compared_with_the_others() -> None:
    train = seen([[0], [1], [4], [10]], [0, 0, 1, 1])
    learnt = DSA().fit(reference(train))
    for examples, first in ((TRAIN, 1 / 3), (ref("data"), 0.0)):
        scoring = InputScoring(model=Ref("m"), data=TRAIN, examples=examples, score=DSA())
        prepared = {"!prepared:seen": train, "!prepared:profile": type("Profile", (), {"arrays": learnt})}
        run = Run("e", 0, None, lambda name, prepared=prepared: prepared[str(name)], lambda _: {}, lambda *_: None)
        made = scoring.produce(run)
        assert made.values[0] == pytest.approx(first)
        assert made.name == "dsa"


def test_the_number_of_inputs_without_a_score_is_reported() -> None:
    train = seen([[0], [1], [4]], [0, 0, 1])
    scoring = InputScoring(model=Ref("m"), data=TRAIN, examples=TRAIN, score=DSA())
    prepared = {
        "!prepared:seen": train,
        "!prepared:profile": type("Profile", (), {"arrays": DSA().fit(reference(train))}),
    }
    made = scoring.produce(Run("e", 0, None, lambda name: prepared[str(name)], lambda _: {}, lambda *_: None))
    assert made.remarks == ("1 of 3 inputs have no score",)
