"""Imports the modules of users' component folders."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from temper.core.errors import SpecError, SpecProblem, StageError
from temper.system.backend import prepare
from temper.system.files import regular
from temper.system.former_names import former_imports
from temper.system.installation import PACKAGE


def modules_of(folders: tuple[Path, ...]) -> Iterator[ModuleType]:
    """Yield the modules of users' folders, each imported.

    Raises:
        SpecError: a folder is missing or has the name of another package, or a file cannot be imported.
    """
    _check_names(folders)
    names = [folder.name for folder in folders]
    for folder in folders:
        yield from _from_folder(folder, names)


def _check_names(folders: tuple[Path, ...]) -> None:
    names = [folder.name for folder in folders]
    for folder in folders:
        message = ""
        if _is_package_of_others(folder):
            message = f"{folder.name} is the name of an installed Python package; rename yours"
        elif names.count(folder.name) > 1:
            message = f"two folders are called {folder.name}; rename one"
        if message:
            raise SpecError([SpecProblem("--components", 0, str(folder), message)])


def _is_package_of_others(folder: Path) -> bool:
    """Return whether modules of a folder belong to an installed package, as those of ``numpy.linalg`` do."""
    if folder.name in sys.stdlib_module_names or folder.name == PACKAGE.name:
        return True
    spec = PathFinder.find_spec(folder.name)
    places = [] if spec is None else spec.submodule_search_locations or [spec.origin or ""]
    return any({"site-packages", "dist-packages"} & {*Path(place).parts} for place in places)


def _from_folder(folder: Path, names: list[str]) -> Iterator[ModuleType]:
    if not folder.is_dir():
        raise SpecError(
            [SpecProblem("--components", 0, str(folder), "no such folder; name one that holds component files")]
        )
    if not os.access(folder, os.R_OK | os.X_OK):
        raise SpecError([SpecProblem("--components", 0, str(folder), "cannot be read; change its permissions")])
    if str(folder.parent) not in sys.path:
        sys.path.append(str(folder.parent))
    paths = sorted(folder.rglob("*.py"))
    for path in paths:
        _check_file(path, folder, names)
    prepare()  # a file with layers of the user's own imports Keras
    _import_package(folder)
    for path in paths:
        name = ".".join(path.relative_to(folder.parent).with_suffix("").parts)
        if path.name == "__init__.py":
            continue
        module = sys.modules.get(name)
        if module is None or module.__file__ != str(path):
            module = _import_file(name, path)
        yield module


def _check_file(path: Path, folder: Path, names: list[str]) -> None:
    try:
        regular(path)
    except StageError as error:
        raise SpecError.at("--components", 0, str(error)) from None
    with suppress(SyntaxError, ValueError):  # its import says so, with the line
        if former := list(former_imports(path, names)):
            where = ".".join(path.relative_to(folder.parent).with_suffix("").parts)
            raise SpecError([SpecProblem(str(path), line, where, message) for line, message in former])


def _import_package(folder: Path) -> None:
    """Make a folder the package of its name, whatever else has that name on the search path, such as the checkout's ``tests``."""
    name, init = folder.name, folder / "__init__.py"
    if str(folder) in getattr(sys.modules.get(name), "__path__", ()):
        return
    for other in [other for other in sys.modules if other == name or other.startswith(f"{name}.")]:
        del sys.modules[other]
    if init.is_file():
        _import_file(name, init)
    else:
        sys.modules[name] = package = ModuleType(name)
        package.__path__ = [str(folder)]
        package.__spec__ = ModuleSpec(name, None, is_package=True)


def _import_file(name: str, path: Path) -> ModuleType:
    inside = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=inside)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        line = error.lineno if isinstance(error, SyntaxError) and error.lineno else _line_in(error, path)
        raise SpecError(
            [SpecProblem(str(path), line, name, f"cannot be imported: {type(error).__name__}: {error}")]
        ) from error
    return module


def _line_in(error: BaseException, path: Path) -> int:
    lines = [
        frame.lineno
        for frame in inspect.getinnerframes(error.__traceback__)  # type: ignore[arg-type]
        if Path(frame.filename) == path
    ]
    return lines[-1] if lines else 1
