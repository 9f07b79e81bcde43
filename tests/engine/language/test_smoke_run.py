"""The smoke run cuts long tasks short, wherever in a component it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from temper.engine.language import smoke_run
from temper.engine.language.experiment import Experiment
from temper.engine.language.smoke_run import shrink

NESTED = """
name: nested
axes: {e: [90, 80]}
datasets:
  data: {type: digits, train_size: 100}
targets:
  model: {type: dense, dataset: data, epochs: $e}
  other: {type: dense, dataset: data}
generate:
  painted:
    type: fuzzer
    model: model
    iterations: 9
    augmenter: {type: inpaint, mask: {type: box}, backend: {type: ddpm, steps: 3, train_batch_size: 7}}
    guidance: [{type: nc}, {type: kmnc}]
    realism: [{type: ssim}, {type: judge, model: other, min: 0.8}, {type: feature_distance, model: other, quantile: 0.9}]
"""


def test_nested_components_are_cut_short(experiment: Callable[..., Experiment]) -> None:
    small = shrink(experiment(NESTED))
    assert small.stages["data"].raw["train_size"] == 100
    assert small.stages["model"].raw["epochs"] == 1
    fuzzer = small.stages["painted"].raw
    assert (fuzzer["iterations"], fuzzer["seed_count"]) == (1, 20)
    painter = fuzzer["augmenter"]["backend"]
    assert painter == {
        "type": "ddpm", "size": 8, "channels": [8, 16], "attention": False, "steps": 3, "train_batch_size": 7, "train_steps": 20,
    }  # fmt: skip
    assert fuzzer["guidance"] == [{"type": "nc"}, {"type": "kmnc"}]
    assert fuzzer["seeds"] == {"type": "random"}
    assert next(small.components("painted"))


PEAKED = """
name: peaked
datasets:
  data: {type: digits}
targets:
  model: {type: dense, dataset: data}
  newer: {type: dense, dataset: data, layers: 2}
localise:
  blamed: {type: tarantula, model: model, top: 3}
generate:
  knw: {type: fuzzer, model: model, augmenter: {type: unchanged}, guidance: [{type: knw}], seeds: {type: peak}}
  found: {type: drfuzz, model: newer, reference: model, fidelity: {type: dcgan, filters: 4}}
  dgn: {type: dgn, model: model, eps: 0.2, loss: {type: suspiciousness, neurons: blamed, gamma: 0.01}}
"""


def test_components_that_need_a_trained_model_are_replaced(experiment: Callable[..., Experiment]) -> None:
    small = shrink(experiment(PEAKED))
    assert small.stages["knw"].raw["seeds"] == {"type": "random"}
    loss = {"type": "suspiciousness", "neurons": "blamed", "gamma": 0.01, "no_suspicious_units": "hold"}
    assert small.stages["dgn"].raw["loss"] == loss
    gate = small.stages["found"].raw["fidelity"]
    assert gate == {"type": "dcgan", "filters": 4, "train_steps": 20, "pass_corrupted": 1.0}
    assert next(small.components("knw"))
    assert next(small.components("dgn"))


def test_realism_gates_let_everything_pass(
    experiment: Callable[..., Experiment],
) -> None:
    ssim, judge, distance = shrink(experiment(NESTED)).stages["painted"].raw["realism"]
    assert ssim == {"type": "ssim", "min": -1}
    assert judge == {"type": "judge", "model": "other", "min": 0}
    assert distance == {"type": "feature_distance", "model": "other", "quantile": 0.9, "max": 1e9}


SCALED = """
name: scaled
datasets:
  small: {type: digits, resize: 48}
  large: {type: digits, resize: 224}
  plain: {type: digits}
targets:
  a: {type: dense, dataset: small}
  b: {type: dense, dataset: large}
  c: {type: dense, dataset: plain}
"""


def test_images_that_are_scaled_up_are_scaled_to_fewer_pixels(experiment: Callable[..., Experiment]) -> None:
    stages = shrink(experiment(SCALED)).stages
    assert [stages[name].raw.get("resize") for name in ("small", "large", "plain")] == [48, 96, None]


def test_images_stay_large_for_a_network_that_takes_no_smaller_ones(
    experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smoke_run, "LARGEST_SIDE", 64)
    assert shrink(experiment(SCALED)).stages["large"].raw["resize"] == 64
    with_leafnet = shrink(experiment(f"{SCALED}  d: {{type: leafnet, dataset: large}}\n"))
    assert with_leafnet.stages["large"].raw["resize"] == 224


NETTASKS = """
name: networks
datasets:
  data: {type: digits, resize: 32}
targets:
  published: {type: vgg16, dataset: data}
  narrow: {type: resnet18, dataset: data, width: 0.05}
  given: {type: vgg16, dataset: data, initial_weights: WEIGHTS, epochs: 0}
"""


def test_networks_are_narrow_unless_their_weights_are_given(
    experiment: Callable[..., Experiment], tmp_path: Path
) -> None:
    (tmp_path / "weights.h5").touch()
    small = shrink(experiment(NETTASKS.replace("WEIGHTS", str(tmp_path / "weights.h5"))))
    widths = [component.width for name in ("published", "narrow", "given") for component in small.components(name)]
    assert widths == [0.125, 0.05, 1.0]


MAPPED = """
name: mapped
datasets:
  data: {type: digits}
targets:
  model: {type: dense, dataset: data}
generate:
  cw:
    type: art
    model: model
    attack: CarliniL2Method
    params: {max_iter: 20, binary_search_steps: 3, learning_rate: 0.01}
repair:
  fixed: {type: apricot, model: model, holdout: data.train}
"""


def test_values_in_a_mapping_are_lowered_too(experiment: Callable[..., Experiment]) -> None:
    stages = shrink(experiment(MAPPED)).stages
    assert stages["cw"].raw["params"] == {"max_iter": 2, "binary_search_steps": 1, "learning_rate": 0.01}
    assert (stages["fixed"].raw["reduced"], stages["fixed"].raw["reduced_epochs"]) == (3, 1)
