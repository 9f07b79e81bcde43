"""Experiment files that are wrong: the messages about them, and that nothing but a ``SpecError`` comes of any file.

``tests/engine/language/problems`` holds a file for each kind of problem, and next to it all messages about it. After a change,
``REWRITE_MESSAGES=1 python -m pytest tests/engine/language/test_experiment_file.py`` rewrites the messages; read the difference.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from temper.core.errors import SpecError
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.language.axis_points import value_at
from temper.engine.language.experiment_file import load
from temper.engine.planning.task_graph import TaskGraph
from temper.engine.storage.digests import Digests

PROBLEMS = Path(__file__).parent / "problems"
FILES = sorted(path for path in PROBLEMS.iterdir() if path.suffix in (".yaml", ".json"))
REWRITE = "REWRITE_MESSAGES" in os.environ  # the tests clear variables of Temper's own


def messages_of(file: str, catalogue: Catalogue) -> str:
    try:
        load(Path(file), catalogue)
    except SpecError as wrong:
        said = str(wrong).replace(str(PROBLEMS), ".").replace(str(Path.home()), "~") + "\n"
        return re.sub(r"(; choose one of)( \w+,){3} .*", r"\1 ...", said)  # grows with every component
    return "no problem\n"


@pytest.mark.parametrize("file", [path.name for path in FILES])
def test_problems(file: str, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROBLEMS)
    expected = (PROBLEMS / file).with_suffix(".txt")
    said = messages_of(file, catalogue)
    if REWRITE:
        expected.write_text(said, encoding="utf-8")
    assert said == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "said"),
    [(".store.yaml", "cannot be called '.store'"), ("a.smoke.yaml", "'a.smoke' is where --smoke"), ("a.b.yaml", "")],
)
def test_a_file_whose_name_is_no_name_of_an_experiment(
    file: str, said: str, tmp_path: Path, catalogue: Catalogue
) -> None:
    (tmp_path / "base.yaml").write_text("name: base\n", encoding="utf-8")
    (tmp_path / file).write_text("extends: base.yaml\ndatasets:\n  grey: {type: plain}\n", encoding="utf-8")
    found = messages_of(str(tmp_path / file), catalogue)
    assert said in found
    assert found.startswith("no problem" if not said else str(tmp_path))


# A valid experiment with every section and kind of value, which the fuzz damages.
VALID: dict[str, Any] = {
    "name": "sound",
    "description": "all sections",
    "mode": "both",
    "seeds": [1, 2],
    "axes": {"eps": ["8/255", 0.1], "who": ["mlp", "robust"]},
    "datasets": {"grey": {"type": "plain", "images": 6, "classes": [0, 1]}, "other": {"type": "plain"}},
    "targets": {"mlp": {"type": "dense", "dataset": "grey", "layers": 1}},
    "generate": {
        "fgsm": {"type": "fgsm", "model": "mlp", "eps": "$eps"},
        "pgd": {"type": "pgd", "model": "$who", "data": "grey", "eps": 0.1, "eps_step": 0.01, "max_iter": 2},
        "art": {"type": "art", "model": "mlp", "attack": "DeepFool", "params": {"max_iter": 2, "epsilon": "$eps"}},
        "lighter": {"type": "shift", "data": "fgsm", "noise": {"type": "drawn", "like": "grey.train"}},
        "copies": {"type": "from_file", "data": "grey", "path": "number"},
    },
    "repair": {"robust": {"type": "adversarial_training", "model": "mlp", "examples": "fgsm", "ratio": 0.5}},
    "evaluate": {
        "robustness": {
            "type": "robustness_matrix", "models": ["mlp", "robust"], "examples": ["grey", "fgsm", "pgd"],
            "protocol": "white_box",
        },
        "cost": {"type": "cost", "stages": ["mlp", "fgsm"]},
        "size": {"type": "perturbation", "examples": ["fgsm", "lighter", "copies.test"]},
    },
    "tables": {
        "table_1": {
            "from": "robustness", "rows": ["model", "who"], "columns": ["examples", "eps"], "cell": "mean",
            "where": {"eps": [0.1]},
        },
    },
    "expected": [{"table": "table_1", "row": "mlp", "column": {"examples": "fgsm"}, "value": 1, "tolerance": 100}],
}  # fmt: skip


def hundred(name: str) -> str:
    return f"{name}: [{', '.join(str(i / 1000) for i in range(1, 100))}]"


MANY = """
seeds: [%s]
axes: {%s}
datasets: {grey: {type: plain}}
generate:
  a: {type: shift, data: grey, noise: {type: fixed, by: $a}}
  b: {type: shift, data: a, noise: {type: fixed, by: $b}}
  c: {type: shift, data: b, noise: {type: fixed, by: $c}}
  e: {type: shift, data: c, noise: {type: fixed, by: $d}}
  d: {type: shift, data: e, noise: {type: drawn}}
evaluate:
  shade: {type: shade, examples: [grey, d]}
"""


def test_more_tasks_than_can_be_planned_are_counted_and_refused(tmp_path: Path, catalogue: Catalogue) -> None:
    axes = ", ".join(map(hundred, "abcd"))
    (tmp_path / "many.yaml").write_text(MANY % (", ".join(map(str, range(1000))), axes), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "many.yaml", catalogue)
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == ("evaluate.shade", 12)
    assert "192,216,241,802 tasks, 96,059,601,001 of them of this stage (99 of a x 99 of b x" in problem.message


def test_a_stage_with_too_many_points_is_not_checked_point_by_point(tmp_path: Path, catalogue: Catalogue) -> None:
    axes = ", ".join(map(hundred, "abcd"))
    text = MANY % ("1", axes) + "  other: {type: shade, examples: [$a, $b, $c, $d]}\n"
    (tmp_path / "many.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=r"evaluate.other: its axes make 96,059,601 tasks"):
        load(tmp_path / "many.yaml", catalogue)
    seeds = tuple(range(600_000))
    (tmp_path / "seeds.yaml").write_text(
        MANY.replace("$d", "$seed") % ("1", ", ".join(map(hundred, "abc"))), encoding="utf-8"
    )
    with pytest.raises(SpecError, match=r"generate.e: its axes make 600,000 tasks"):
        load(tmp_path / "seeds.yaml", catalogue, seeds=seeds)


NESTED = """
datasets: {d: {type: digits}}
targets: {m: {type: dense, dataset: d}}
generate:
  g:
    type: fuzzer
    model: m
    augmenter:
      type: one_of
      of:
        - {type: unchanged}
        - {type: one_of, of: [{type: unchanged}, {type: synthetic_occlusion, occluders: {type: cutouts, folder: %s}}]}
    realism: [{type: clip, folder: %s}]
"""


def test_paths_of_components_in_lists_start_at_the_file_at_any_depth(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "a.png").touch()
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "config.json").touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    file = tmp_path / "nested.yaml"
    file.write_text(NESTED % ("cut", "clip"), encoding="utf-8")
    paths = list(load(file, catalogue).component("g", {}).files())
    assert sorted(paths) == [tmp_path / "clip", tmp_path / "cut"]


@pytest.mark.parametrize(
    ("cut", "clip", "place", "message"),
    [
        ("none", "clip", "augmenter.of[1].of[1].occluders.folder", "there is no file or folder"),
        ("cut", "none", "realism[0].folder", "there is no file or folder"),
        ("clip", "clip", "augmenter.of[1].of[1].occluders.folder", "contains no cut-out"),
        ("cut", "cut", "realism[0].folder", "there is no config.json"),
        ("pipe", "clip", "augmenter.of[1].of[1].occluders.folder", "expected a file or folder, received a named pipe"),
    ],
)
def test_problems_of_components_in_lists_are_reported_at_their_place(
    tmp_path: Path, catalogue: Catalogue, cut: str, clip: str, place: str, message: str
) -> None:
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "a.png").touch()
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "config.json").touch()
    os.mkfifo(tmp_path / "pipe")
    file = tmp_path / "nested.yaml"
    file.write_text(NESTED % (cut, clip), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load(file, catalogue)
    (problem,) = caught.value.problems
    assert problem.path == f"generate.g.{place}"
    assert message in problem.message


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(item, (*path, key))


WORDS = sorted({str(key) for path in places(VALID) for key in path} | {"type", "plain", "fgsm.test", "$eps", "$who"})
LEAVES = (
    st.sampled_from([*WORDS, "$seed", "1/3", "8/0", "1e400", "", "x" * 5000, "a\n", "${NO}", "~", "$", "seed", "nan"])
    | st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text(max_size=3)
    | st.sampled_from([10**30, -(2**63), 1e308, float("inf")])
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)
)


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """Draw the valid experiment after one to three changes anywhere in it."""
    data = copy.deepcopy(VALID)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([p for p in places(data) if p]))
        parent = data
        for key in path[:-1]:
            parent = parent[key]
        match draw(st.sampled_from(["delete", "replace", "insert", "move"])):
            case "delete":
                del parent[path[-1]]
            case "replace":
                parent[path[-1]] = draw(VALUES)
            case "insert" if isinstance(parent, dict):
                parent[draw(st.sampled_from(WORDS) | st.text(max_size=3))] = draw(VALUES)
            case "insert":
                parent.insert(path[-1], draw(VALUES))
            case "move":
                other = draw(st.sampled_from(list(places(data))))
                parent[path[-1]] = copy.deepcopy(value_at(data, other))
        if not data:
            break
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "number").write_text("2", encoding="utf-8")
    return folder


@cache
def digests(folder: Path) -> Digests:
    return Digests(folder / "digests.json")


def loaded(data: Any, folder: Path, catalogue: Catalogue) -> TaskGraph:
    file = folder / "fuzz.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    return TaskGraph(load(file, catalogue), digests(folder))


def test_the_valid_experiment_is_valid(folder: Path, catalogue: Catalogue) -> None:
    assert loaded(VALID, folder, catalogue).tasks


@settings(max_examples=int(os.environ.get("TEMPER_FUZZ", "150")), deadline=None)
@given(data=damaged())
def test_a_damaged_experiment_is_loaded_or_has_problems(data: Any, folder: Path, catalogue: Catalogue) -> None:
    graph, problems = None, ()
    try:
        graph = loaded(data, folder, catalogue)
    except SpecError as wrong:
        problems = wrong.problems
    assert graph or (problems and all(problem.message for problem in problems))
    # What loads can be planned: every task after those it needs.
    done: set[str] = set()
    for fingerprint, task in graph.tasks.items() if graph else ():
        assert done.issuperset(task.needs)
        done.add(fingerprint)
