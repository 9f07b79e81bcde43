"""Fingerprints: of values, of files, and of the code a component consists of."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from temper.engine.catalogue.discovery import Catalogue, discover
from temper.engine.command_line.main import main
from temper.engine.language.experiment_file import load
from temper.engine.planning.task_graph import TaskGraph
from temper.engine.storage.digests import Digests, of_value

PLAIN = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
TREE = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


def shuffled(value: Any, random: Any) -> Any:
    if isinstance(value, dict):
        items = [(key, shuffled(item, random)) for key, item in value.items()]
        random.shuffle(items)
        return dict(items)
    return [shuffled(item, random) for item in value] if isinstance(value, list) else value


@given(TREE, st.randoms())
def test_the_order_of_keys_does_not_count(value: Any, random: Any) -> None:
    assert of_value(shuffled(value, random)) == of_value(value)


@given(TREE, TREE)
def test_different_values_differ(one: Any, two: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (of_value(one) == of_value(two)) == same


EXPERIMENT: dict[str, Any] = {
    "name": "file",
    "seeds": [1, 2],
    "axes": {"by": [0.1, 0.2]},
    "datasets": {"grey": {"type": "plain", "images": 6, "classes": [0, 1]}},
    "generate": {
        "lighter": {"type": "shift", "data": "grey", "noise": {"type": "fixed", "by": "$by"}},
        "random": {"type": "shift", "data": "grey", "noise": {"type": "drawn"}},
    },
    "evaluate": {"shade": {"type": "shade", "examples": ["grey", "lighter", "random"]}},
}


def written(data: Any, random: Any) -> str:
    """Return a YAML text of the data in another order and form, with comments between the lines."""
    form = random.choice([None, False, True])
    text = yaml.safe_dump(data, sort_keys=False, default_flow_style=form, width=random.choice([20, 1000]))
    lines = text.splitlines()
    for _ in range(3 * (form is False)):
        lines.insert(random.randrange(len(lines)), random.choice(["# message", "", "   # more"]))
    return "\n".join(lines)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(random=st.randoms())
def test_form_order_and_comments_of_a_file_do_not_count(random: Any, tmp_path: Path, catalogue: Catalogue) -> None:
    def tasks(text: str) -> set[str]:
        path = tmp_path / "e.yaml"
        path.write_text(text, encoding="utf-8")
        return set(TaskGraph(load(path, catalogue), Digests(tmp_path / "digests.json")).tasks)

    assert tasks(written(shuffled(EXPERIMENT, random), random)) == tasks(json.dumps(EXPERIMENT))


# Code.

COMPONENT = '''
"""A component of a user."""
from __future__ import annotations
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated
from temper.core.artefacts import Examples, Row
from temper.core.component import Ref
from temper.core.families import Evaluation
from temper.core.run import Run


@dataclass(frozen=True, kw_only=True)
class Mine(Evaluation):
    """Mine.

    Source: made up.
    """

    tag = "mine"
    metrics = ("one",)

    examples: Annotated[Ref[Examples], "what to measure"]

    def measure(self, run: Run) -> Iterable[Row]:
        from {folder}.helper import one
        yield Row(metric="one", value=one(), n=1, unit="", higher_is_better=None)
'''
HELPER = """
def one():
    return 1.0
"""
USES = """
name: user
datasets: {grey: {type: plain}}
evaluate: {mine: {type: mine, examples: grey}}
"""


@pytest.fixture
def user(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder of a user's components, one of which imports a helper of its own."""
    folder = tmp_path / f"user_{abs(hash(request.node.name))}"
    folder.mkdir()
    (folder / "mine.py").write_text(COMPONENT.replace("{folder}", folder.name), encoding="utf-8")
    (folder / "helper.py").write_text(HELPER, encoding="utf-8")
    path = list(sys.path)
    yield folder
    sys.path[:] = path
    for name in [name for name in sys.modules if name.startswith(folder.name)]:
        del sys.modules[name]


@pytest.fixture
def fingerprint(user: Path, tmp_path: Path) -> Callable[[], str]:
    """Return the fingerprint of the user's stage as the code stands now."""

    def fingerprint() -> str:
        path = tmp_path / "e.yaml"
        path.write_text(dedent(USES), encoding="utf-8")
        catalogue = discover([Path(__file__).parents[2] / "parts", user])
        graph = TaskGraph(load(path, catalogue), digests := Digests(tmp_path / "digests.json"))
        digests.save_cache()
        (found,) = (task.fingerprint for task in graph.tasks.values() if task.stage == "mine")
        return found

    return fingerprint


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("mine.py", 'unit=""', 'unit="pixels"'),
        ("helper.py", "1.0", "2.0"),  # imported by the component, inside a function
    ],
)
def test_code_counts(user: Path, fingerprint: Callable[[], str], file: str, old: str, new: str) -> None:
    before = fingerprint()
    edit(user / file, old, new)
    assert fingerprint() != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("mine.py", '"""Mine.\n', '"""Mine, in other words.\n'),
        ("mine.py", '"""A component of a user."""', ""),
        ("mine.py", "    metrics =", "    # why\n    metrics ="),
        ("helper.py", "return 1.0", "return (\n        1.0\n    )"),
        ("helper.py", "def one():\n", 'def one():\n    """Return one."""\n'),
    ],
)
def test_comments_docstrings_and_form_of_code_do_not_count(
    user: Path, fingerprint: Callable[[], str], file: str, old: str, new: str
) -> None:
    before = fingerprint()
    edit(user / file, old, new)
    assert fingerprint() == before


def test_a_plan_names_the_modules_that_changed(
    user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], write: Callable[..., Path]
) -> None:
    parts = Path(__file__).parents[2] / "parts"
    arguments = [
        str(write(USES)),
        "--components",
        str(parts),
        "--components",
        str(user),
        "--outputs",
        str(tmp_path / "outputs"),
    ]
    assert main(arguments) == 0
    edit(user / "helper.py", "1.0", "2.0")
    capsys.readouterr()
    assert main([*arguments, "--plan"]) == 0
    assert f"code changed ({user.name}.helper)" in capsys.readouterr().out


IMPORT = "from {folder}.helper import one"


@pytest.mark.parametrize(
    ("statement", "file"),
    [
        ("from .helper import one", "helper.py"),
        ("from . import helper; one = helper.one", "helper.py"),
        ("import {folder}.helper as helper; one = helper.one", "helper.py"),
        ("from {folder}.inner.deep import one", "inner/deep.py"),
        ("from {folder}.inner import one", "inner/__init__.py"),
        ("from .inner import deep; one = deep.one", "inner/__init__.py"),
        ("from .inner.deep import one", "inner/deep.py"),
        ("import importlib; one = importlib.import_module('{folder}.inner.deep').one", "inner/deep.py"),
        ("from importlib import import_module as load; one = load('{folder}.inner.deep').one", "inner/deep.py"),
        ("import importlib as lib; one = lib.import_module(name='{folder}.inner.deep').one", "inner/deep.py"),
        ("import importlib; one = importlib.import_module('.inner.deep', __package__).one", "inner/deep.py"),
        ("import builtins; one = builtins.__import__('elsewhere_{folder}').one", "../path/elsewhere_{folder}.py"),
        ("from elsewhere_{folder} import one", "../path/elsewhere_{folder}.py"),
        ("from elsewhere_{folder}.part import one", "../path/elsewhere_{folder}/part.py"),
        ("from .passing import one", "helper.py"),
    ],
)
def test_code_counts_however_it_is_imported(
    statement: str, file: str, user: Path, fingerprint: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a function of the component, from the component's own folder or from a folder on the search path."""
    changed = user / file.replace("{folder}", user.name)
    for path in (user / "inner" / "__init__.py", user / "inner" / "deep.py", changed):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HELPER, encoding="utf-8")
    (user / "passing.py").write_text("from .helper import *\n", encoding="utf-8")
    monkeypatch.syspath_prepend(user.parent / "path")
    edit(user / "mine.py", IMPORT.replace("{folder}", user.name), statement.replace("{folder}", user.name))
    before = fingerprint()
    edit(changed, "1.0", "2.0")
    assert fingerprint() != before


def test_a_module_that_is_found_later_counts(user: Path, fingerprint: Callable[[], str]) -> None:
    (user / "helper.py").rename(user / "away.py")
    before = fingerprint()
    (user / "away.py").rename(user / "helper.py")
    assert fingerprint() != before


RAISES = "        if run is None:\n            raise ValueError({words})\n        yield Row"


CHECK = "    def check(self) -> Iterator[tuple[str, str]]:\n        yield from ()\n\n"


@pytest.mark.parametrize(
    ("place", "one", "other"),
    [
        ('"what to measure"', '"what to measure"', '"what is measured"'),
        ("    def measure", "    def measure", f"{CHECK}    def measure"),
        ("    def measure", '    """One."""\n\n    def measure', "    def measure"),
        ("@dataclass", '_ONE = 1\n"""The first."""\n\n\n@dataclass', "_ONE = 1\n\n\n@dataclass"),
        ("        yield Row", RAISES.format(words="'one'"), RAISES.format(words="'two' 'three'")),
        ("        yield Row", RAISES.format(words="f'is {run}'"), RAISES.format(words="f'was {run}'")),
    ],
    ids=["description", "check", "docstring", "text below a constant", "exception", "formatted exception"],
)
def test_words_do_not_count(user: Path, fingerprint: Callable[[], str], place: str, one: str, other: str) -> None:
    edit(user / "mine.py", place, one)
    before = fingerprint()
    edit(user / "mine.py", one, other)
    assert fingerprint() == before


@pytest.mark.parametrize("name", ["check", "fits", "suits", "review", "pictures", "comparison", "smoke_limits"])
def test_a_method_that_computes_counts_whatever_its_name(name: str, user: Path, fingerprint: Callable[[], str]) -> None:
    (user / "helper.py").write_text(
        f"class Helper:\n    def {name}(self):\n        return 1.0\n\none = Helper().{name}\n", encoding="utf-8"
    )
    before = fingerprint()
    edit(user / "helper.py", "1.0", "2.0")
    assert fingerprint() != before


def test_code_that_is_not_imported_does_not_count(user: Path, fingerprint: Callable[[], str]) -> None:
    before = fingerprint()
    (user / "unrelated.py").write_text("one = 1\n", encoding="utf-8")
    assert fingerprint() == before


VOCABULARY = {
    "temper", "temper.system", "temper.core", "temper.core.data_info", "temper.nn", "temper.nn.editing", "temper.nn.images", "temper.nn.inspection", "temper.core.artefacts", "temper.system.backend", "temper.core.classifier", "temper.core.component",
    "temper.nn.editing.copies", "temper.nn.inspection.finite_check", "temper.nn.inspection.gradients", "temper.nn.editing.log_probabilities",
    "temper.nn.editing.operation_kinds",
    "temper.nn.inspection.compiled_programs", "temper.nn.editing.logits", "temper.core.confidence_intervals", "temper.system.threads",
    "temper.nn.tensorflow_files", "temper.nn.tensorflow_files.signature_layer",
}  # fmt: skip
STAGES = VOCABULARY | {"temper.core.families", "temper.core.run", "temper.core.stage"}


@pytest.mark.parametrize(
    ("module", "modules"),
    [
        (
            "temper.targets.models.dense",
            STAGES
            | {"temper.targets", "temper.targets.models", "temper.nn.training", "temper.system.zip_member"}
            | {"temper.targets.models.dense", "temper.targets.models.trained", "temper.nn.model_files"}
            | {
                f"temper.nn.model_files.{name}"
                for name in (
                    "hdf5_file",
                    "hdf5_weights",
                    "keras_archive",
                    "theano_conversion",
                    "untrusted_files",
                    "weight_assignment",
                )
            }
            | {f"temper.nn.training.{name}" for name in ("epochs", "compiled_steps", "training", "training_state")},
        ),
        (
            "temper.generators.fgsm_bim_pgd",
            STAGES
            | {"temper.core.attack", "temper.core.resumable_batches", "temper.core.threat_model"}
            | {
                "temper.generators",
                "temper.generators.norm_balls",
                "temper.generators.fgsm_bim_pgd",
                "temper.generators.image_streams",
            },
        ),
        (
            "temper.evaluation.coverage.nc",
            VOCABULARY
            | {
                "temper.nn.adequacy",
                "temper.nn.adequacy.coverage",
                "temper.nn.adequacy.reference_data",
                "temper.nn.inspection.activations",
            }
            | {
                "temper.nn.inspection.units",
                "temper.evaluation",
                "temper.evaluation.coverage",
                "temper.evaluation.coverage.nc",
            },
        ),
    ],
)
def test_a_model_an_attack_and_a_criterion_depend_on_these_modules_only(
    module: str, modules: set[str], tmp_path: Path
) -> None:
    """No picture, no storage, no command line: what is not here may change without anything being computed again."""
    assert Digests(tmp_path / "digests.json").closure(module) == modules


def test_a_report_depends_on_the_code_that_writes_it(tmp_path: Path) -> None:
    closure = Digests(tmp_path / "digests.json").closure("temper.engine.running.session", plumbing=True)
    assert {
        "temper.engine.results.report_files",
        "temper.engine.report.figure_style",
        "temper.engine.storage.store",
        "temper.engine.running.session",
    } <= closure


# Files.


def test_a_folder_is_the_content_and_names_of_its_files(tmp_path: Path) -> None:
    digests = Digests(tmp_path / "digests.json")

    def folder(name: str, **files: str) -> str:
        for file, text in files.items():
            path = tmp_path / name / file.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return digests.content(tmp_path / name)

    one = folder("one", a="1", sub__b="2")
    assert folder("two", a="1", sub__b="2") == one
    assert folder("three", a="2", sub__b="1") != one
    assert folder("four", a="1", b="2") != one


def test_links_in_a_folder_count_as_what_they_lead_to(tmp_path: Path) -> None:
    pictures, digests = tmp_path / "pictures", Digests(tmp_path / "digests.json")
    (pictures / "cats").mkdir(parents=True)
    (pictures / "cats" / "1.png").write_text("cat", encoding="utf-8")
    plain, linked, empty = (tmp_path / name for name in ("plain", "linked", "empty"))
    for folder in (plain, linked, empty):
        folder.mkdir()
    (plain / "cats").mkdir()
    (plain / "cats" / "1.png").write_text("cat", encoding="utf-8")
    (linked / "cats").symlink_to(pictures / "cats", target_is_directory=True)
    assert digests.content(linked) == digests.content(plain) != digests.content(empty)
    (tmp_path / "link").symlink_to(linked, target_is_directory=True)
    assert digests.content(tmp_path / "link") == digests.content(plain)
    before = digests.content(linked)
    (pictures / "cats" / "1.png").write_text("dog", encoding="utf-8")
    assert digests.content(linked) != before


def test_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    (folder / "1.png").write_text("cat", encoding="utf-8")
    before = Digests(tmp_path / "digests.json").content(tmp_path / "data")
    (folder / "again").symlink_to(tmp_path / "data", target_is_directory=True)
    assert Digests(tmp_path / "digests.json").content(tmp_path / "data") == before


@pytest.mark.parametrize("name", [".DS_Store", "__pycache__/x.pyc", "Thumbs.db", "cats/._1.png", ".git/HEAD"])
def test_what_systems_leave_behind_does_not_count(name: str, tmp_path: Path) -> None:
    folder, digests = tmp_path / "data", Digests(tmp_path / "digests.json")
    (folder / "cats").mkdir(parents=True)
    (folder / "cats" / "1.png").write_text("cat", encoding="utf-8")
    before = digests.content(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("left behind", encoding="utf-8")
    assert digests.content(folder) == before


def test_a_file_whose_time_is_set_back_is_read_again(tmp_path: Path) -> None:
    path, memory = tmp_path / "file", tmp_path / "digests.json"
    path.write_text("one", encoding="utf-8")
    digests = Digests(memory)
    before, status = digests.content(path), path.stat()
    digests.save_cache()
    time.sleep(0.05)  # file systems count time in steps
    with path.open("r+", encoding="utf-8") as stream:
        stream.write("two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert Digests(memory).content(path) != before


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, memory = tmp_path / "file", tmp_path / "digests.json"
    path.write_text("one", encoding="utf-8")
    first = Digests(memory)
    before = first.content(path)
    first.save_cache()
    path.write_text("two", encoding="utf-8")
    changed = Digests(memory)
    after = changed.content(path)
    assert after != before
    changed.save_cache()
    monkeypatch.setattr("temper.engine.storage.digests._sha256", lambda _: pytest.fail("it was read again"))
    assert Digests(memory).content(path) == after


@pytest.mark.parametrize("text", ["", "{", "[]", '{"file:x": 1}', "null"])
def test_a_damaged_memory_only_costs_reading_again(tmp_path: Path, text: str) -> None:
    path, memory = tmp_path / "file", tmp_path / "digests.json"
    path.write_text("one", encoding="utf-8")
    expected = Digests(tmp_path / "none.json").content(path)
    memory.write_text(text, encoding="utf-8")
    digests = Digests(memory)
    assert digests.content(path) == expected
    digests.save_cache()
    assert json.loads(memory.read_text(encoding="utf-8"))
