"""Who may import whom, what no module does, and how large one may be; read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

HOUSES = ("core", "targets", "generators", "localisation", "repair", "evaluation", "clusters")
OUTSIDE = ("runner", "tests", "benchmarks")
FRAMEWORKS = {"tensorflow", "keras", "torch", "jax", "art", "diffusers", "transformers", "foolbox"}
HEAVY = FRAMEWORKS | {"pandas", "matplotlib", "sklearn", "scipy", "dask", "distributed", "jinja2", "PIL"}
AT_ONCE = {"numpy", "yaml", "jsonschema", "referencing", "rich", "psutil"}
"""Packages that a module of core may import as it is imported; everything else is imported where it is used."""
MACHINERY = ("core.language", "core.report", "core.running", "core.storage")
LONGEST = 300
LONG = {"benchmarks/faults.py"}
"""Longer than that, and to be divided."""


@dataclass(frozen=True)
class Imported:
    name: str
    line: int
    at_once: bool
    relative: bool


def modules(*houses: str) -> list[Path]:
    found = [path for house in houses for path in sorted((ROOT / house).rglob("*.py"))]
    return [ROOT / "runner.py", *found] if houses == HOUSES else found


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[Imported]:
    yield from _imports(tree(path), at_once=True)


def _imports(node: ast.AST, at_once: bool) -> Iterator[Imported]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Imported(alias.name, child.lineno, at_once, False) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield Imported(child.module or "", child.lineno, at_once, child.level > 0)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            yield from _imports(child, at_once and not inside and not typing)


def wrong(path: Path, rule: str, found: list[Imported]) -> str:
    return "\n".join(f"{ids(path)}:{i.line}: imports {i.name}; {rule}" for i in found)


def package(name: str) -> str:
    return name.partition(".")[0]


EVERYWHERE = modules(*HOUSES)
BENCHMARKS = modules("benchmarks")


@pytest.mark.parametrize("path", EVERYWHERE, ids=ids)
def test_imports_are_absolute_and_frameworks_wait_until_they_are_used(path: Path) -> None:
    found = list(imports(path))
    assert not (bad := [i for i in found if i.relative]), wrong(path, "imports are absolute", bad)
    bad = [i for i in found if i.at_once and package(i.name) in HEAVY]
    assert not bad, wrong(path, "import it in the function that uses it", bad)


@pytest.mark.parametrize("path", modules("core"), ids=ids)
def test_core_imports_no_component_and_few_packages(path: Path) -> None:
    found = list(imports(path))
    bad = [i for i in found if package(i.name) in (*HOUSES[1:], *OUTSIDE)]
    assert not bad, wrong(path, "core knows no component", bad)
    known = sys.stdlib_module_names | AT_ONCE | {"core"}
    bad = [i for i in found if i.at_once and package(i.name) not in known]
    assert not bad, wrong(path, f"core imports at once only {', '.join(sorted(AT_ONCE))}", bad)


@pytest.mark.parametrize("path", modules(*HOUSES[1:]), ids=ids)
def test_a_house_imports_core_and_itself(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0]
    bad = [i for i in imports(path) if package(i.name) in {*HOUSES, *OUTSIDE} - {"core", own}]
    assert not bad, wrong(path, "houses meet in core only", bad)
    bad = [i for i in imports(path) if i.name.startswith(MACHINERY)]
    assert not bad, wrong(path, "a component works with the vocabulary, not with what runs it", bad)


FORBIDDEN = {
    "chdir": "the working directory belongs to the user",
    "eval": "no text becomes code",
    "exec": "no text becomes code",
    "print": "the console speaks through rich, a module through its progress",
    "system": "no shell",
}


@pytest.mark.parametrize("path", [*EVERYWHERE, *BENCHMARKS], ids=ids)
def test_no_module_does_what_none_may(path: Path) -> None:
    found = [
        f"imports {i.name} in line {i.line}" for i in imports(path) if package(i.name) in {"pickle", "dill", "shelve"}
    ]
    allowed = {"print"} if path in BENCHMARKS else set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.id if isinstance(function, ast.Name) else ""
            if (
                isinstance(function, ast.Attribute)
                and isinstance(function.value, ast.Name)
                and function.value.id == "os"
            ):
                name = function.attr
            if name in FORBIDDEN.keys() - allowed:
                found.append(f"calls {name} in line {node.lineno}: {FORBIDDEN[name]}")
            for keyword in node.keywords:
                if keyword.arg in ("allow_pickle", "shell") and ast.unparse(keyword.value) != "False":
                    found.append(f"{keyword.arg} in line {node.lineno}")
                if keyword.arg == "safe_mode" and ast.unparse(keyword.value) != "True":
                    found.append(f"loads models unsafely in line {node.lineno}")
    assert not found


@pytest.mark.parametrize("path", [p for p in (*EVERYWHERE, *BENCHMARKS) if p.name != "__init__.py"], ids=ids)
def test_a_module_says_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(tree(path))
    assert docstring
    assert docstring.splitlines()[0].rstrip()[-1] in ".!?:", "the first line is a sentence"


@pytest.mark.parametrize("path", [p for p in (*EVERYWHERE, *BENCHMARKS) if p.name == "__init__.py"], ids=ids)
def test_packages_are_empty(path: Path) -> None:
    assert path.read_text(encoding="utf-8").strip() == ""


def test_modules_are_short() -> None:
    paths = (*EVERYWHERE, *BENCHMARKS)
    lengths = {ids(path): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert {name for name, length in lengths.items() if length > LONGEST} <= LONG


@pytest.mark.parametrize("path", BENCHMARKS, ids=ids)
def test_a_benchmark_imports_the_product_and_of_the_tests_a_box_alone(path: Path) -> None:
    found = list(imports(path))
    assert not (bad := [i for i in found if i.relative]), wrong(path, "imports are absolute", bad)
    bad = [i for i in found if package(i.name) == "tests" and not i.name.endswith("_box")]
    assert not bad, wrong(path, "what benchmarks and tests share belongs to neither's tests", bad)


def test_each_folder_of_code_is_under_these_rules_and_type_checked() -> None:
    """Those that git knows: a new one must not slip through."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = {name.partition("/")[0] for name in listed.split() if "/" in name}
    assert folders == {*HOUSES, "tests", "benchmarks"}
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["files"]
    assert set(checked) == {*HOUSES, "benchmarks", "runner.py"}


PROBE = """
import sys
sys.path.insert(0, {root!r})
import core.cli
from core.language.discovery import discover
assert discover().leaves
print(",".join(sorted({{name.partition(".")[0] for name in sys.modules}} & {heavy!r})))
"""


def test_finding_the_components_imports_no_framework() -> None:
    probe = PROBE.format(root=str(ROOT), heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == ""
