"""A preparation is an artefact: computed once, shared, and included in the cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from temper.core.component import Ref
from temper.engine.planning.task_graph import TaskGraph
from tests.conftest import PARTS, start

LEARNING = """
name: learning
datasets:
  grey: {type: plain}
generate:
  mirror: {type: learner, data: grey, counter: COUNTER}
evaluate:
  shade: {type: shade, examples: [grey, mirror, mirror.train]}
  cost: {type: cost, stages: [mirror]}
"""


def test_all_parts_read_one_preparation_of_the_training_part(
    graph: Callable[..., TaskGraph],
) -> None:
    tasks = {task.label: task for task in graph(LEARNING).tasks.values() if task.stage == "mirror"}
    assert set(tasks) == {"mirror.mean[grey]", "mirror.test", "mirror.train"}
    prepared = tasks["mirror.mean[grey]"]
    assert [found.part for found in prepared.inputs.values()] == ["train"]
    for part in ("mirror.test", "mirror.train"):
        assert prepared.fingerprint in tasks[part].needs


def test_preparation_is_computed_once_and_stored(write: Callable[..., Path], tmp_path: Path) -> None:
    count, outputs = tmp_path / "count", tmp_path / "outputs"
    file = write(LEARNING.replace("COUNTER", str(count)))
    for _ in range(2):
        process = start(file, "--components", PARTS, "--outputs", outputs)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    assert sorted(count.read_text().split("\n")[:-1]) == ["mirror learns", "mirror test", "mirror train"]
    results = pd.read_csv(outputs / "learning" / "results.csv")
    shades = results[results.metric == "shade"].set_index("examples")["value"]
    assert abs(shades["mirror"] - (1 - shades["grey"])) < 1e-6
    assert results[results.metric == "preparation_seconds"]["value"].item() > 0


def test_reference_to_a_preparation_has_a_readable_form() -> None:
    for ref in (
        Ref("dgn", "test", prepared="networks"),
        Ref("dgn", None, "robust", clean=True),
        Ref("pgd", definition=True),
    ):
        assert Ref.parse(str(ref)) == ref
    assert str(Ref("dgn", "test", prepared="networks")) == "dgn.test!prepared:networks"
