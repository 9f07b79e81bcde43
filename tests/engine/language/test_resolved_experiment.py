"""The resolved experiment: every default can be written, nested components among them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml

from temper.engine.language.experiment import Experiment
from temper.engine.language.resolved_experiment import resolved

RELEVANT = """
name: relevant
datasets:
  digits: {type: digits}
targets:
  mlp: {type: dense, dataset: digits}
localise:
  lrp: {type: relevance, model: mlp}
"""


def test_a_nested_component_that_is_a_default_is_written_out(
    experiment: Callable[..., Experiment], write: Callable[..., Path]
) -> None:
    text = resolved(experiment(RELEVANT))
    rule = yaml.safe_load(text)["localise"]["lrp"]["rule"]
    assert rule["type"] == "epsilon"
    assert rule["epsilon"] > 0
    assert resolved(experiment(text)) == text


def test_defaults_inside_a_given_nested_component_are_written_out(
    experiment: Callable[..., Experiment], write: Callable[..., Path]
) -> None:
    given = RELEVANT.replace("model: mlp}", "model: mlp, rule: {type: alpha_beta, alpha: 2}}")
    text = resolved(experiment(given))
    assert yaml.safe_load(text)["localise"]["lrp"]["rule"] == {"type": "alpha_beta", "alpha": 2, "beta": 1.0}
    assert resolved(experiment(text)) == text
