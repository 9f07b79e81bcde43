"""The resolved experiment: every default can be written, nested components among them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml

from core.language.experiment import Experiment
from core.language.resolved import resolved

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
