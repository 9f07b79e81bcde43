"""Worst cases: one for each threat model and each source of images, on a classifier that reads the first pixel."""

from __future__ import annotations

from typing import Any

import pytest

from temper.core.artefacts import Examples
from temper.core.component import Ref
from temper.core.run import DataOrigin, Run
from temper.evaluation.robustness import RobustnessMatrix
from tests.evaluation.test_evaluations import Threshold, images, ref

Y = [0, 0, 1, 1]
WRONG = {0: 0.9, 1: 0.1}


def failing(*rows: int, **info: Any) -> Examples:
    """Return four images of which these are classified wrongly."""
    return images([WRONG[y] if i in rows else 1 - WRONG[y] for i, y in enumerate(Y)], Y, **info)


SETS = {
    "clean": failing(0),
    "small": failing(1, norm="inf", eps=2 / 255),
    "again": failing(2, norm="inf", eps=2 / 255),
    "large": failing(1, 2, norm="inf", eps=0.5),
    "round": failing(3, norm=2, eps=3),
    "cw": failing(1, 2, 3, attack="art"),
    "dgn": failing(attack="dgn"),
}


def accuracies(*names: str, sources: dict[str, str] | None = None) -> dict[str, float]:
    matrix = RobustnessMatrix(models=(Ref("m"),), examples=tuple(map(ref, names)), protocol="transfer")
    *_, worst = matrix.expand()
    artefacts = {f"{name}.test": examples for name, examples in SETS.items()} | {"m": Threshold()}
    run = Run(
        "e", 0, None, lambda r: artefacts[str(r)], lambda r: {}, lambda *_: None,
        origin=lambda r: DataOrigin((sources or {}).get(r.stage, "data"), r.stage != "clean"),
    )  # fmt: skip
    return {row.examples: row.value for row in worst.produce(run).rows}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("clean", "small"), {"worst_case": 0.5}),
        (("clean", "small", "again"), {"worst_case": 0.25}),
        (("small", "again"), {"worst_case": 0.5}),
        (("clean", "cw", "dgn"), {"worst_case": 0.0}),
        (
            ("clean", "small", "large", "again"),
            {"worst_case (Linf 2/255)": 0.25, "worst_case (Linf 0.5)": 0.25},
        ),
        (
            ("round", "clean", "small", "cw"),
            {"worst_case (L2 3)": 0.5, "worst_case (Linf 2/255)": 0.5, "worst_case (unbounded)": 0.0},
        ),
    ],
)
def test_each_threat_model_has_its_own(names: tuple[str, ...], expected: dict[str, float]) -> None:
    assert accuracies(*names) == expected


def test_images_of_different_sources_are_never_joined_by_their_index() -> None:
    sources = {"large": "other", "round": "other"}
    assert accuracies("clean", "small", "large", sources=sources) == {
        "worst_case (data, Linf 2/255)": 0.5,
        "worst_case (other, Linf 0.5)": 0.5,
    }
    assert accuracies("clean", "small", "again", "large", sources={"again": "data.train", "large": "data.train"}) == {
        "worst_case (data, Linf 2/255)": 0.5,
        "worst_case (data.train, Linf 2/255)": 0.75,
        "worst_case (data.train, Linf 0.5)": 0.5,
    }


def test_a_clean_set_alone_has_none() -> None:
    assert accuracies("clean", "small", sources={"small": "other"}) == {"worst_case (other)": 0.75}


def test_a_set_made_of_another_comes_from_where_that_does(tmp_path: Any, catalogue: Any) -> None:
    from temper.engine.language.experiment_file import load
    from temper.engine.planning.task_graph import TaskGraph
    from temper.engine.storage.digests import Digests

    (tmp_path / "x.yaml").write_text(
        """
datasets: {a: {type: digits, test_size: 50}, b: {type: digits, test_size: 40}}
targets: {mlp: {type: dense, dataset: a, layers: 1}}
generate:
  fgsm: {type: fgsm, model: mlp, eps: 0.1}
  twice: {type: fgsm, model: mlp, data: fgsm, eps: 0.1}
  other: {type: fgsm, model: mlp, data: b, eps: 0.1}
  train: {type: fgsm, model: mlp, data: b.train, eps: 0.1}
  drawn: {type: sample, data: a, size: 10}
  drawn_twice: {type: sample, data: twice, size: 10}
evaluate:
  e: {type: robustness_matrix, models: [mlp], protocol: transfer, examples: [a, a.train, fgsm, twice, other, train, drawn, drawn_twice, fgsm.train]}
tables:
  t: {from: e, rows: model, columns: examples, where: {examples: ["worst_case (a, Linf 0.1)", fgsm]}}
""",
        encoding="utf-8",
    )
    graph = TaskGraph(load(tmp_path / "x.yaml", catalogue), Digests(tmp_path / "digests.json"))
    (worst,) = (cell for cell in graph.results if cell.about["examples"] == "worst_case")
    inputs = graph.tasks[worst.fingerprint].inputs
    found = {key: (lead.origin, lead.perturbed) for key, lead in inputs.items() if key != "mlp"}
    assert found == {
        "a.test": ("a", False),
        "a.train": ("a.train", False),
        "fgsm.test": ("a", True),
        "twice.test": ("a", True),
        "other.test": ("b", True),
        "train.test": ("b.train", True),
        "drawn.test": ("a", False),
        "drawn_twice.test": ("a", True),
        "fgsm.train": ("a.train", True),
    }


def test_another_name_of_the_source_is_another_result(tmp_path: Any, catalogue: Any) -> None:
    from temper.engine.language.experiment_file import load
    from temper.engine.planning.task_graph import TaskGraph
    from temper.engine.storage.digests import Digests

    text = """
datasets: {a: {type: digits, test_size: 50}, NAME: {type: digits, test_size: 40}}
targets: {mlp: {type: dense, dataset: a, layers: 1}}
generate: {other: {type: fgsm, model: mlp, data: NAME, eps: 0.1}}
evaluate: {e: {type: robustness_matrix, models: [mlp], protocol: transfer, examples: [a, other]}}
"""
    tasks = []
    for name in ("b", "c"):
        (tmp_path / "x.yaml").write_text(text.replace("NAME", name), encoding="utf-8")
        graph = TaskGraph(load(tmp_path / "x.yaml", catalogue), Digests(tmp_path / "digests.json"))
        tasks.append({task.label: fingerprint for fingerprint, task in graph.tasks.items()})
    changed = {label for label, fingerprint in tasks[0].items() if tasks[1].get(label) != fingerprint}
    assert changed == {"b", "e[mlp, other] seed=1", "e[mlp, a, other] seed=1"}
    assert tasks[0]["b"] == tasks[1]["c"]
