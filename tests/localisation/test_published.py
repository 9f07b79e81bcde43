"""The suspicious neurons of DeepFault's logs of October 2018 are reproduced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from temper.localisation.controls import LeastSuspicious
from temper.localisation.suspiciousness import DStar, Ochiai, Tarantula
from tests.localisation.published import NETWORKS, held_out, logs, network
from tests.localisation.test_hit_spectrum import COMMON, made

pytestmark = pytest.mark.shared

MEASURES: dict[str, Any] = {"tarantula": Tarantula, "dstar": DStar, "ochiai": Ochiai, "opposite": LeastSuspicious}
UNITS = "neurons_hiddenlayer:unit"


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_suspicious_neurons_are_those_of_the_logs(shared: Path, name: str) -> None:
    model, data = network(shared, name), held_out(shared)
    found = logs(shared)
    found = found[found.model.str.contains(name) & found.measure.isin(MEASURES)]
    sets = found.groupby(["measure", "k", "class"])[UNITS].agg(["first", "nunique"])
    assert len(sets) == 130
    assert (sets["nunique"] == 1).all()
    rankings = {
        key: made(MEASURES[key[0]](**COMMON, top=key[1], as_published=True), model, data)
        for key in {key[:2] for key in sets.index}
    }
    wrong = [
        (key, theirs)
        for key, theirs in sets["first"].items()
        if {f"{layer}:{unit}" for layer, unit in rankings[key[:2]].positions_of(key[2])} != set(theirs.split())
    ]
    assert not wrong
