"""Stages that draw the same numbers, and stages that are computed once because they give the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from temper.engine.planning.task_graph import TaskGraph

SHARING = """
name: sharing
axes:
  contrast: [0.0, 1.0]
datasets:
  grey: {type: plain}
generate:
  one: {type: speckle, data: grey, by: 0.2, contrast: $contrast, counter: COUNTER}
  two: {type: speckle, data: grey, by: 0.2, contrast: $contrast, counter: COUNTER}
  strong: {type: speckle, data: grey, by: 0.4, contrast: $contrast, counter: COUNTER}
evaluate:
  shade: {type: shade, examples: [one, two, strong]}
"""

OWN = """
name: own
datasets:
  grey: {type: plain}
generate:
  one: {type: shift, data: grey, noise: {type: drawn}}
  two: {type: shift, data: grey, noise: {type: drawn}}
evaluate:
  shade: {type: shade, examples: [one, two]}
"""


def made(graph: TaskGraph) -> dict[str, str]:
    return {task.label: f for f, task in graph.tasks.items() if task.section == "generate"}


def test_equal_stages_of_one_stream_are_one_task_whatever_their_names(graph: Callable[..., TaskGraph]) -> None:
    tasks = made(graph(SHARING, "axes.contrast=[1.0]"))
    assert list(tasks) == ["one.test contrast=1 seed=1", "strong.test contrast=1 seed=1"]


def test_stages_whose_artefact_is_the_same_are_one_work(graph: Callable[..., TaskGraph]) -> None:
    tasks = made(graph(SHARING, "axes.contrast=[0.0]"))
    assert list(tasks) == ["one.test contrast=0 seed=1"]


def test_stages_with_separate_streams_are_separate_tasks(graph: Callable[..., TaskGraph]) -> None:
    tasks = made(graph(OWN))
    assert list(tasks) == ["one.test seed=1", "two.test seed=1"]


def test_one_stream_gives_the_same_numbers(
    run: Callable[..., tuple[int, str]], write: Callable[..., Path], tmp_path: Path
) -> None:
    count = tmp_path / "count"
    code, message = run(write(SHARING.replace("COUNTER", str(count)) + "seeds: [1, 2]\n"))
    assert code == 0, message
    # Of three stages at two contrasts and two seeds: one without contrast, two with it.
    assert sorted(count.read_text().split()) == ["one"] * 4 + ["strong"] * 2
    found = pd.read_csv(tmp_path / "outputs" / "sharing" / "results.csv")
    for seed in (1, 2):
        for contrast, different in ((0.0, 1), (1.0, 2)):
            shades = found[(found.seed == seed) & (found.contrast == contrast)].set_index("examples")["value"]
            assert shades["one"] == shades["two"]
            assert shades.nunique() == different
    assert found[found.contrast == 1.0].groupby("examples")["value"].nunique().eq(2).all()
