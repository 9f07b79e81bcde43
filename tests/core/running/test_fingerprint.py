"""Fingerprints: of values, of files, and of the code a component consists of."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.language.discovery import Catalogue, discover
from core.language.spec import load
from core.running.graph import Graph
from core.storage.digest import Digests, of_value

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
        lines.insert(random.randrange(len(lines)), random.choice(["# said", "", "   # more"]))
    return "\n".join(lines)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(random=st.randoms())
def test_form_order_and_comments_of_a_file_do_not_count(random: Any, tmp_path: Path, catalogue: Catalogue) -> None:
    def works(text: str) -> set[str]:
        path = tmp_path / "e.yaml"
        path.write_text(text, encoding="utf-8")
        return set(Graph(load(path, catalogue), Digests(tmp_path / "digests.json")).works)

    assert works(written(shuffled(EXPERIMENT, random), random)) == works(json.dumps(EXPERIMENT))


# Code.

COMPONENT = '''
"""A component of a user."""
from __future__ import annotations
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated
from core.artefacts import Examples, Row
from core.component import Ref
from core.families import Evaluation
from core.run import Run


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
        graph = Graph(load(path, catalogue), digests := Digests(tmp_path / "digests.json"))
        digests.remember()
        (found,) = (work.fingerprint for work in graph.works.values() if work.stage == "mine")
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


def test_code_that_is_not_imported_does_not_count(user: Path, fingerprint: Callable[[], str]) -> None:
    before = fingerprint()
    (user / "unrelated.py").write_text("one = 1\n", encoding="utf-8")
    assert fingerprint() == before


def test_a_projects_module_counts_for_all_that_import_it(tmp_path: Path) -> None:
    digests = Digests(tmp_path / "digests.json")
    closure = digests._closure("evaluation.robustness")
    assert {"evaluation.robustness", "core.families", "core.classifier", "core.backend"} <= closure
    assert not any(name.startswith(("generators", "targets", "numpy")) for name in closure)


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


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, memory = tmp_path / "file", tmp_path / "digests.json"
    path.write_text("one", encoding="utf-8")
    first = Digests(memory)
    before = first.content(path)
    first.remember()
    path.write_text("two", encoding="utf-8")
    changed = Digests(memory)
    after = changed.content(path)
    assert after != before
    changed.remember()
    monkeypatch.setattr("core.storage.digest._sha256", lambda _: pytest.fail("it was read again"))
    assert Digests(memory).content(path) == after


@pytest.mark.parametrize("text", ["", "{", "[]", '{"file:x": 1}', "null"])
def test_a_damaged_memory_only_costs_reading_again(tmp_path: Path, text: str) -> None:
    path, memory = tmp_path / "file", tmp_path / "digests.json"
    path.write_text("one", encoding="utf-8")
    expected = Digests(tmp_path / "none.json").content(path)
    memory.write_text(text, encoding="utf-8")
    digests = Digests(memory)
    assert digests.content(path) == expected
    digests.remember()
    assert json.loads(memory.read_text(encoding="utf-8"))
