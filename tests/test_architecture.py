"""Who may import whom, what no module does, and how large one may be; read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

COMPONENTS = ("targets", "generators", "localisation", "repair", "evaluation", "clusters")
"""The rooms of components: they meet in the rooms below only."""
LIBRARY = ("system", "core", "artefacts", "nn")
ROOMS = (*LIBRARY, "engine", "api", *COMPONENTS)
ALLOWED = {
    "system": {"system", "core"},
    "core": {"system", "core", "nn"},
    "artefacts": {"system", "core", "nn", "artefacts"},
    "nn": {*LIBRARY},
    "engine": {*LIBRARY, "engine"},
    "api": {*LIBRARY, "engine", "api"},
    **{room: {*LIBRARY, room} for room in COMPONENTS},
}
"""What the modules of each room import of Temper."""
OUTSIDE = {"runner", "tests", "benchmarks"}
FRAMEWORKS = {"tensorflow", "keras", "torch", "jax", "art", "diffusers", "transformers", "foolbox"}
HEAVY = FRAMEWORKS | {"pandas", "matplotlib", "sklearn", "scipy", "dask", "distributed", "jinja2", "PIL", "h5py"}
AT_ONCE = {"numpy", "yaml", "jsonschema", "referencing", "rich", "psutil"}
"""Packages that a module of the library or the engine may import as it is imported; all others are imported where they are used."""
LONGEST = 300
LARGEST_FOLDER = 20
LONG = {"benchmarks/random_kills.py"}
"""Longer than that, and to be divided."""


@dataclass(frozen=True)
class Imported:
    name: str
    line: int
    at_once: bool
    relative: bool
    names: tuple[str, ...] = ()


def modules(*rooms: str) -> list[Path]:
    """Return the modules of rooms, under the names they are imported by: ``temper/generators`` is a link to ``generators``."""
    return [path for room in rooms for path in sorted((ROOT / "temper" / room).rglob("*.py"))]


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
            parts = tuple(alias.name for alias in child.names)
            yield Imported(child.module or "", child.lineno, at_once, child.level > 0, parts)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            yield from _imports(child, at_once and not inside and not typing)


def wrong(path: Path, rule: str, found: list[Imported]) -> str:
    return "\n".join(f"{ids(path)}:{i.line}: imports {i.name}; {rule}" for i in found)


def package(name: str) -> str:
    return name.partition(".")[0]


DOOR = ROOT / "temper" / "__init__.py"
"""What ``import temper`` imports."""
EVERYWHERE = [ROOT / "runner.py", ROOT / "temper" / "__main__.py", *modules(*ROOMS)]
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("path", [DOOR, *EVERYWHERE], ids=ids)
def test_imports_are_absolute_and_frameworks_wait_until_they_are_used(path: Path) -> None:
    found = list(imports(path))
    assert not (bad := [i for i in found if i.relative]), wrong(path, "imports are absolute", bad)
    bad = [i for i in found if i.at_once and package(i.name) in HEAVY]
    assert not bad, wrong(path, "import it in the function that uses it", bad)


@pytest.mark.parametrize("path", modules(*ROOMS), ids=ids)
def test_each_package_imports_only_the_allowed_packages(path: Path) -> None:
    room = path.relative_to(ROOT / "temper").parts[0]
    found = list(imports(path))
    bad = [i for i in found if package(i.name) in OUTSIDE]
    assert not bad, wrong(path, "the product imports nothing around it", bad)
    bad = [i for i in found if package(i.name) == "temper" and i.name.split(".")[1] not in ALLOWED[room]]
    assert not bad, wrong(path, f"{room} imports {', '.join(sorted(ALLOWED[room]))} only", bad)


def test_importing_temper_imports_the_standard_library_alone() -> None:
    bad = [i for i in imports(DOOR) if i.at_once and package(i.name) not in sys.stdlib_module_names]
    assert not bad, wrong(DOOR, "it imports what a name needs when that is used", bad)


@pytest.mark.parametrize("path", modules(*LIBRARY, "engine", "api"), ids=ids)
def test_the_library_and_the_engine_import_few_packages_at_once(path: Path) -> None:
    known = sys.stdlib_module_names | AT_ONCE | {"temper"}
    bad = [i for i in imports(path) if i.at_once and package(i.name) not in known]
    assert not bad, wrong(path, f"only {', '.join(sorted(AT_ONCE))} are imported at once", bad)


def names() -> dict[str, Path]:
    """Return every module of the product by its full name."""
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in modules(*ROOMS)}


def test_module_names_are_unique() -> None:
    stems = Counter(path.stem for path in (*EVERYWHERE, *BENCHMARKS) if path.name != "__init__.py")
    assert [stem for stem, count in stems.items() if count > 1] == []


def test_public_class_names_are_unique() -> None:
    found = Counter(
        node.name
        for path in (*EVERYWHERE, *BENCHMARKS)
        for node in tree(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in found.items() if count > 1] == []


def test_there_are_no_import_cycles() -> None:
    known = names()
    needs = {
        name: {n for i in imports(path) for n in (i.name, *(f"{i.name}.{part}" for part in i.names)) if n in known}
        for name, path in known.items()
    }
    while free := [name for name, others in needs.items() if not others & needs.keys()]:
        for name in free:
            del needs[name]
    # What is left is a circle, or needs one.
    while idle := [name for name in needs if not any(name in others for others in needs.values())]:
        for name in idle:
            del needs[name]
    assert sorted(needs) == []


def test_folders_are_small_and_shallow() -> None:
    folders = Counter(path.parent for path in modules(*ROOMS) if path.name != "__init__.py")
    assert {ids(folder): count for folder, count in folders.items() if count > LARGEST_FOLDER} == {}
    assert all(len(folder.relative_to(ROOT).parts) <= 3 for folder in folders)


def test_the_layout_in_the_documentation_lists_every_folder() -> None:
    text = (ROOT / "docs" / "decisions" / "0023-one-package.md").read_text(encoding="utf-8")
    drawing = text.partition("```\ntemper/\n")[2].partition("```")[0]
    listed = {part for line in drawing.splitlines() for part in line.split() if part.endswith("/")}
    folders = {f"{room}/" for room in ROOMS}
    folders |= {
        f"{path.parent.name}/" for room in ("nn", "engine") for path in (ROOT / "temper" / room).glob("*/__init__.py")
    }
    assert listed == folders


FORBIDDEN = {
    "chdir": "the working directory belongs to the user",
    "eval": "no text becomes code",
    "exec": "no text becomes code",
    "print": "the console speaks through rich, a module through its progress",
    "system": "no shell",
}


@pytest.mark.parametrize("path", [*EVERYWHERE, *BENCHMARKS], ids=ids)
def test_no_module_makes_forbidden_calls(path: Path) -> None:
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
def test_the_docstring_of_a_module_starts_with_a_sentence(path: Path) -> None:
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
def test_a_benchmark_imports_only_the_product_and_the_test_clusters(path: Path) -> None:
    found = list(imports(path))
    assert not (bad := [i for i in found if i.relative]), wrong(path, "imports are absolute", bad)
    bad = [i for i in found if package(i.name) == "tests" and not i.name.endswith("_box")]
    assert not bad, wrong(path, "what benchmarks and tests share belongs to neither's tests", bad)


def test_every_source_folder_is_checked() -> None:
    """Those that git knows: a new one must not slip through."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = {name.partition("/")[0] for name in listed.split() if "/" in name}
    assert folders == {"temper", "generators", "targets", "tests", "benchmarks"}
    assert {path.name for path in (ROOT / "temper").iterdir() if (path / "__init__.py").exists()} == set(ROOMS)
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["files"]
    assert set(checked) == {"temper", "benchmarks", "runner.py"}


PROBE = """
import sys
sys.path.insert(0, {root!r})
import temper.engine.command_line.main
from temper.engine.catalogue.discovery import discover
assert discover().leaves
print(",".join(sorted({{name.partition(".")[0] for name in sys.modules}} & {heavy!r})))
"""


def test_finding_the_components_imports_no_framework() -> None:
    probe = PROBE.format(root=str(ROOT), heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == ""
