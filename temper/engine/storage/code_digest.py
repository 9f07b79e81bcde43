"""Hashes the part of a module's source code that can change a result, and finds the modules it imports."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from temper.system.installation import PACKAGE

PLUMBING = (
    "temper.core.checkpoint",
    "temper.clusters",
    "temper.core.cluster",
    "temper.core.errors",
    "temper.core.report_spec",
    "temper.system.files",
    "temper.system.packages",
    "temper.system.processes",
    "temper.system.installation",
    "temper.system.stop_request",
    "temper.engine",
    "temper.nn.adequacy.score_comparison",
    "temper.nn.images.example_grids",
    "temper.nn.inspection.class_order_check",
)
"""Modules, and packages with their contents, that transport, store and display results: no number depends on them."""

_MESSAGE_METHODS = {
    "check": "Iterator[tuple[str, str]]",
    "fits": "Iterator[tuple[str, str]]",
    "suits": "Iterator[tuple[str, str]]",
    "review": "None",
    "pictures": "Iterator[Picture]",
    "comparison": "Iterator[Picture]",
    "smoke_limits": "Mapping[str, int]",
}
"""Component methods that only report problems, with their return annotations: other methods of the same names count."""
_IMPORTERS = ("importlib.import_module", "__import__", "builtins.__import__")


def digest_and_imports(path: Path, module: str) -> dict[str, Any]:
    """Return the ``digest`` of a module's code and the names it ``imports``, without those of libraries.

    Comments, formatting, docstrings, the descriptions of parameters, the wording of exceptions and imports for type
    checkers do not count.
    """
    content = path.read_bytes()
    if path.suffix != ".py":  # compiled
        return {"digest": hashlib.sha256(content).hexdigest(), "imports": []}
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    digest, imports = _digest_and_imports(content, module, package)
    return {"digest": digest, "imports": list(imports)}


@lru_cache(maxsize=1024)  # every session of a process parses the same modules, with a digest cache of its own
def _digest_and_imports(content: bytes, module: str, package: str) -> tuple[str, tuple[str, ...]]:
    tree = _IrrelevantCodeRemover().visit(ast.parse(content))
    imports = {part for name in _imported(tree, package) if not _is_library(name) for part in with_packages(name)}
    # Names that cannot be resolved now are kept: a later run may resolve them.
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(sorted(imports - {module}))


def is_plumbing(module: str) -> bool:
    """Return whether a module is excluded from fingerprints."""
    return any(module == name or module.startswith(f"{name}.") for name in PLUMBING)


class _IrrelevantCodeRemover(ast.NodeTransformer):
    """Removes from a module's syntax tree everything that no result depends on."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [part for part in node.body if not _is_message_method(part)]
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Remove docstrings, and the strings that describe constants."""
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)

    def visit_Pass(self, node: ast.Pass) -> None:
        """Remove ``pass``: a docstring may have replaced it."""

    def visit_If(self, node: ast.If) -> ast.AST:
        self.generic_visit(node)
        return ast.Pass() if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING") else node

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                part.value = ""
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.Subscript:
        self.generic_visit(node)
        if ast.unparse(node.value) in ("Annotated", "typing.Annotated") and isinstance(node.slice, ast.Tuple):
            kind, *about = node.slice.elts
            node.slice.elts = [kind, *(part for part in about if not isinstance(part, ast.Constant | ast.JoinedStr))]
        return node


def _is_message_method(part: ast.stmt) -> bool:
    if not isinstance(part, ast.FunctionDef) or part.returns is None or part.name not in _MESSAGE_METHODS:
        return False
    returned = part.returns.value if isinstance(part.returns, ast.Constant) else ast.unparse(part.returns)
    return str(returned) == _MESSAGE_METHODS[part.name]


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the full names of what a module of a package imports anywhere: modules, or names that may be modules."""
    called = dict(_other_names(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                above = parents[: len(parents) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            top, dot, rest = ast.unparse(node.func).partition(".")
            if f"{called.get(top, top)}{dot}{rest}" in _IMPORTERS:
                given = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "name")]
                names = [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)]
                yield from (f"{package}{name}" if name.startswith(".") else name for name in names)


def _other_names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the local names of a module's imports, each with the full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname, alias.name) for alias in node.names if alias.asname)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def with_packages(name: str) -> Iterator[str]:
    """Yield a module and its parent packages, whose ``__init__`` runs at its import."""
    parts = name.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def file_of(name: str) -> Path | None:
    """Return the file of a module of Temper or of its user; ``None`` for libraries and names that are no module.

    Nothing is imported.
    """
    parts = name.split(".")
    if not all(parts):
        return None
    if parts[0] == PACKAGE.name:
        inside = PACKAGE.joinpath(*parts[1:])
        files = (inside.with_suffix(".py"), inside / "__init__.py")
        return next((file for file in files if file.is_file()), None)
    loaded = sys.modules.get(name)
    file = getattr(loaded, "__file__", None)
    found = Path(file) if file else None if hasattr(loaded, "__path__") else _searched(name)
    return None if found is None or _installed(found) else found


def _searched(name: str) -> Path | None:
    """Return the file that an import of a name would load, by the current search path."""
    path, origin = None, None
    for part in with_packages(name):
        if part != name and (loaded := getattr(sys.modules.get(part), "__path__", None)) is not None:
            path = loaded  # a user's folder may have the name of another package on the search path
            continue
        try:
            spec = PathFinder.find_spec(part, path)
        except (ImportError, ValueError):
            return None
        if spec is None or (part != name and spec.submodule_search_locations is None):
            return None
        path, origin = spec.submodule_search_locations, spec.origin
    return Path(origin) if origin and Path(origin).is_file() else None


def _is_library(name: str) -> bool:
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return True
    if top == PACKAGE.name:
        return False
    spec = PathFinder.find_spec(top) if top else None
    return spec is not None and spec.origin is not None and _installed(Path(spec.origin))


def _installed(path: Path) -> bool:
    return any(part in ("site-packages", "dist-packages") for part in path.parts) or path.is_relative_to(
        Path(importlib.util.__file__).parent.parent
    )
