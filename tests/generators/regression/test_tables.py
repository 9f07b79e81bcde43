"""The research questions of DRFuzz's evaluation as one experiment."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from temper.core.report_spec import DirectionGrid, ImageGrid
from temper.engine.language.experiment import Experiment
from temper.engine.planning.task_graph import TaskGraph
from temper.engine.results.example_pictures import ExamplePictures
from temper.engine.results.intact_artefacts import IntactArtefacts
from temper.engine.storage.digests import Digests
from temper.engine.storage.store import Store
from tests.conftest import ROOT

EXPERIMENT = """
name: questions
datasets:
  digits: {type: digits, validation: 0.3}
targets:
  older: {type: dense, dataset: digits, layers: 1, units: 24, epochs: 4, batch_size: 32}
  newer: {type: dense, dataset: digits, layers: 1, units: 24, epochs: 5, batch_size: 32}
generate:
  some: {type: sample, data: drfuzz, size: 40}
  drfuzz: &fuzzer {type: drfuzz, model: newer, reference: older, mutants: 4000, round_seeds: 32, fidelity: {type: ssim_to_seed, min: 0.5}}
  without_mcmc: {<<: *fuzzer, ablate: mcmc}
  deephunter: {<<: *fuzzer, type: deephunter, guidance: {type: kmnc, k: 100}, fidelity: {type: none}}
  diffchaser:
    {<<: *fuzzer, type: diffchaser, population: 20, beta: 0.8, mutation_rate: 0.1, fidelity: {type: l0linf, alpha: 0.5, beta: 0.5}}
  random: {type: random_fuzzer, model: newer, reference: older, mutants: 4000}
repair:
  on_drfuzz: {type: guided_retraining, model: newer, examples: [some.validation], epochs: 5, batch_size: 32}
  on_random: {type: guided_retraining, model: newer, examples: [random.validation], epochs: 5, batch_size: 32}
evaluate:
  counts: {type: regression_faults, examples: [drfuzz, without_mcmc, deephunter, diffchaser, random]}
  effect: {type: repair_effect, model: newer, repaired: [on_drfuzz, on_random], examples: [drfuzz, random, digits]}
  shown: {type: robustness_matrix, models: [newer], examples: [some], protocol: transfer}
  beside: {type: published, of: counts, file: FILE, where: {subject: MNIST-LeNet5, version: supply}}
tables:
  found: {from: counts, rows: examples, columns: metric}
  gates: {from: counts, rows: group, columns: examples, metric: pass_rate}
  crossed: {from: effect, rows: model, columns: examples, metric: accuracy_after}
  compared: {from: beside, rows: examples, columns: [group, metric]}
"""


@pytest.fixture
def text() -> str:
    return EXPERIMENT.replace("FILE", str(ROOT / "experiments" / "published" / "drfuzz_rq1.csv"))


def test_the_tables_answer_the_research_questions(
    run: Callable[..., tuple[int, str]],
    write: Callable[..., Path],
    experiment: Callable[..., Experiment],
    text: str,
    tmp_path: Path,
) -> None:
    code, said = run(write(text))
    assert code == 0, said
    results = tmp_path / "outputs" / "questions"
    with (results / "results.csv").open(encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))

    def value(stage: str, metric: str, **labels: str) -> float:
        (found,) = [
            row for row in rows
            if (row["stage"], row["metric"]) == (stage, metric)
            and all(row[name] == label for name, label in {"group": "", "model": "", **labels}.items())
        ]  # fmt: skip
        return float(found["value"])

    fuzzers = ("drfuzz", "without_mcmc", "deephunter", "diffchaser", "random")
    for name in fuzzers:
        assert value("counts", "urf", examples=name) > 0
        assert value("counts", "mutants", examples=name) > 3900
    assert len({value("counts", "initial", examples=name) for name in fuzzers}) == 1
    assert value("counts", "pass_rate", examples="drfuzz", group="brightness") > value(
        "counts", "pass_rate", examples="drfuzz", group="translation"
    )
    before = value("effect", "accuracy_before", model="on_drfuzz", examples="drfuzz")
    assert before == 0.0, "a fault is an image that the new version gets wrong"
    assert value("effect", "accuracy_after", model="on_drfuzz", examples="drfuzz") > 0.2
    assert value("effect", "accuracy_after", model="on_random", examples="digits") > 0.8
    assert value("beside", "published", examples="drfuzz", group="urf") == 8767

    store = Store(tmp_path / "outputs" / ".store")
    grids = ExamplePictures(
        experiment(text), TaskGraph(experiment(text), Digests(store.root / "digests.json")), IntactArtefacts(store)
    ).of("generate")
    directions = {grid.name.partition(".")[0]: grid for grid in grids if isinstance(grid, DirectionGrid)}
    assert set(directions) == set(fuzzers)
    first = directions["drfuzz"]
    assert all(len(made) for made in first.made)
    assert {label for row in first.predicted for label in row} <= set("0123456789")
    assert first.classes[0].split()[2] == first.predicted[0][0]
    (sample,) = [grid for grid in grids if isinstance(grid, ImageGrid)]
    assert (sample.clean != sample.perturbed).any(axis=(1, 2, 3)).all(), (
        "what a fault was made of is an image of the data set"
    )
