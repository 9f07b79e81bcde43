"""Finds the components: every concrete component class in the folders it is given."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import MappingProxyType, ModuleType

from temper.core.cluster import Cluster
from temper.core.component import Component, fields_of
from temper.core.errors import SpecError, SpecProblem, StageError
from temper.core.stage import Stage
from temper.engine.language.sections import SECTIONS
from temper.system.backend import prepare
from temper.system.files import regular
from temper.system.former_names import former_imports
from temper.system.installation import PACKAGE

BUILT_IN = ("targets", "localisation", "generators", "repair", "evaluation", "clusters", "nn/preparations")
"""Folders of the package that hold components."""
_NO_LINK = (
    "expected a link to a folder, received a file, as git writes it where links are switched off; "
    "run in the checkout: git config core.symlinks true && git checkout -- temper"
)
"""On Windows, links need the developer mode or an administrator."""


@dataclass(frozen=True)
class Catalogue:
    """The available components, and the users' folders that were searched besides the built-in ones."""

    leaves: tuple[type[Component], ...]
    folders: tuple[Path, ...] = ()

    @cache  # noqa: B019 - a catalogue lives as long as the program
    def of(self, family: type[Component]) -> Mapping[str, type[Component]]:
        """Return the members of a family by tag, in alphabetical order."""
        members = {leaf.tag: leaf for leaf in self.leaves if family in leaf.__mro__}
        return MappingProxyType(dict(sorted(members.items())))

    @cache  # noqa: B019
    def families(self) -> tuple[type[Component], ...]:
        """Return the sections' families, then every family a component nests, each once."""
        found: dict[type[Component], None] = dict.fromkeys([*SECTIONS.values(), Cluster])
        for leaf in self.leaves:
            for field in fields_of(leaf):
                kind = field.kind
                while kind.item is not None:
                    kind = kind.item
                if kind.name == "nested":
                    assert kind.target is not None
                    found.setdefault(kind.target)
        return tuple(found)

    def stage(self, tag: str) -> list[type[Stage]]:
        """Return every stage's component of a tag, whatever its family."""
        return [leaf for leaf in self.leaves if leaf.tag == tag and issubclass(leaf, Stage)]


def discover(folders: Iterable[Path] = ()) -> Catalogue:
    """Import every module of the built-in folders and of the users' ``folders`` and collect their components.

    Raises:
        SpecError: a user's file cannot be imported, components are declared wrongly, or two of a family share a tag; a folder
            of Temper's own is missing.
    """
    users = tuple(dict.fromkeys(Path(folder).resolve() for folder in folders))
    _check_names(users)
    names = [folder.name for folder in users]
    modules = [*_built_in(), *(module for folder in users for module in _from_folder(folder, names))]
    leaves = [leaf for module in modules for leaf in _leaves(module)]
    if faults := list(_misdeclared(leaves)):
        raise SpecError(faults)
    _unique_tags(leaves)
    return Catalogue(tuple(leaves), users)


def _built_in() -> Iterator[ModuleType]:
    for name in BUILT_IN:
        if not (PACKAGE / name).is_dir():
            raise SpecError.at(str(PACKAGE / name), 0, _NO_LINK)
        for path in sorted((PACKAGE / name).rglob("*.py")):
            relative = path.relative_to(PACKAGE).with_suffix("")
            if path.name != "__init__.py":
                yield importlib.import_module(".".join(["temper", *relative.parts]))


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


def _leaves(module: ModuleType) -> Iterator[type[Component]]:
    for value in vars(module).values():
        if (
            isinstance(value, type)
            and value.__module__ == module.__name__
            and "tag" in vars(value)
            and issubclass(value, Component)  # last, as abstract base classes take long to answer
        ):
            yield value


def _misdeclared(leaves: Iterable[type[Component]]) -> Iterator[SpecProblem]:
    for leaf in leaves:
        if message := _declaration_fault(leaf):
            yield SpecProblem(inspect.getfile(leaf), inspect.getsourcelines(leaf)[1], leaf.__name__, message)


def _declaration_fault(leaf: type[Component]) -> str:
    if inspect.isabstract(leaf):
        return f"has a tag but does not implement {', '.join(sorted(leaf.__abstractmethods__))}"
    parameters = vars(leaf).get("__dataclass_params__")  # its own, not one inherited from its family
    if parameters is None or not parameters.frozen:
        return "must be decorated with @dataclass(frozen=True, kw_only=True)"
    try:
        fields_of(leaf)
    except (TypeError, NameError) as error:  # NameError: an annotation uses a name that is not imported
        return str(error)
    return ""


def _unique_tags(leaves: Iterable[type[Component]]) -> None:
    seen: dict[tuple[type, str], type[Component]] = {}
    for leaf in leaves:
        family = next(base for base in leaf.__mro__[1:] if base.__mro__[1] in (Stage, Component))
        twin = seen.setdefault((family, leaf.tag), leaf)
        if twin is not leaf:
            message = f"type '{leaf.tag}' is already taken by {twin.__module__}.{twin.__name__}; choose another tag"
            raise SpecError(
                [SpecProblem(inspect.getfile(leaf), inspect.getsourcelines(leaf)[1], leaf.__name__, message)]
            )
