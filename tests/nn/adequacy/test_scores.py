"""Scores: display names, orders of inputs, and storage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest

from temper.core.artefacts import Examples
from temper.core.component import Component, Range, Ref
from temper.core.display_names import display_name
from temper.nn.adequacy.score import Score, Scores, descending
from temper.nn.adequacy.score_order import FaultOrder, InputScores
from temper.nn.inspection.activations import Activations


@dataclass(frozen=True, kw_only=True)
class Mean(Score):
    weight: Annotated[float, "a weight", Range(ge=0)] = 1.0
    layers: Annotated[tuple[str, ...] | None, "some layers"] = None
    strict: Annotated[bool, "a switch"] = False

    tag = "mean"

    def values(self, learnt: Any, seen: Activations, own: Any, rng: Any) -> Scores:
        return np.zeros(len(seen))


@dataclass(frozen=True, kw_only=True)
class Holder(Component):
    tag = "holder"

    of: Annotated[Ref[Examples], "something needed"]
    inner: Mean = Mean()


def test_a_display_name_has_the_type_and_non_default_parameters() -> None:
    assert display_name(Mean()) == "mean"
    assert (
        display_name(Mean(weight=0.5, layers=("a", "b"), strict=True)) == "mean (weight 0.5, layers a+b, strict true)"
    )
    assert (
        display_name(Holder(of=Ref("x", "train"), inner=Mean(weight=2.0)))
        == "holder (of x.train, inner mean (weight 2))"
    )


def test_a_score_without_a_fit_does_not_learn() -> None:
    assert not Mean().learns
    assert not Mean().stochastic
    assert list(Mean().remarks({})) == []


def test_higher_scores_come_first_ties_at_random_and_nan_last() -> None:
    scores = np.array([1.0, np.nan, 3.0, 1.0, 2.0, 1.0])
    orders = {tuple(descending(scores, np.random.default_rng(seed)).tolist()) for seed in range(40)}
    assert {order[:2] for order in orders} == {(2, 4)}
    assert {order[-1] for order in orders} == {1}
    assert len(orders) == 6, "every order of the three equals"


@pytest.mark.parametrize("seed", [0, 1])
def test_stored_scores_and_orders_are_restored(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scored = InputScores("dsa", rng.random(5), ("one thing", "another"))
    ordered = FaultOrder("dsa", rng.permutation(5), rng.random(5) < 0.5, ())
    for artefact in (scored, ordered):
        folder = tmp_path / artefact.kind
        folder.mkdir()
        artefact.save(folder)
        again = type(artefact).load(folder)
        assert all(np.array_equal(a, b) for a, b in zip(vars(again).values(), vars(artefact).values(), strict=True))


def test_faults_are_counted_after_each_input() -> None:
    ordered = FaultOrder("x", np.array([2, 0, 1]), np.array([True, False, True]), ())
    assert ordered.found.tolist() == [0, 1, 2, 2]
