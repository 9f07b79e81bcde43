"""Finds the components: every concrete component class in the folders it is given."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType

from temper.core.cluster import Cluster
from temper.core.component import Component, fields_of
from temper.core.errors import SpecError, SpecProblem
from temper.core.stage import Stage
from temper.engine.catalogue import component_index
from temper.engine.catalogue.component_index import Entry, imported, qualified
from temper.engine.catalogue.sections import SECTIONS
from temper.engine.catalogue.user_modules import modules_of
from temper.system.installation import PACKAGE

BUILT_IN = ("targets", "localisation", "generators", "repair", "evaluation", "clusters", "nn/shared_stages")
"""Folders of the package that hold components."""
_NO_LINK = (
    "expected a link to a folder, received a file, as git writes it where links are switched off; "
    "run in the checkout: git config core.symlinks true && git checkout -- temper"
)
"""On Windows, links need the developer mode or an administrator."""


class Members(Mapping[str, type[Component]]):
    """The members of a family by tag, in alphabetical order; each is imported when it is looked up."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = {entry.tag: entry for entry in sorted(entries, key=lambda entry: entry.tag)}

    def __getitem__(self, tag: str) -> type[Component]:
        return self._entries[tag].load()

    def __contains__(self, tag: object) -> bool:
        return tag in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The available components, and the users' folders that were searched besides the built-in ones."""

    entries: tuple[Entry, ...]
    folders: tuple[Path, ...] = ()

    @cached_property
    def leaves(self) -> tuple[type[Component], ...]:
        """All components, each imported."""
        return tuple(entry.load() for entry in self.entries)

    @property
    def tags(self) -> list[str]:
        """The names of all types, each once, in alphabetical order."""
        return sorted({entry.tag for entry in self.entries})

    @cache  # noqa: B019 - a catalogue lives as long as the program
    def of(self, family: type[Component]) -> Members:
        """Return the members of a family by tag, in alphabetical order."""
        return Members(entry for entry in self.entries if qualified(family) in entry.bases)

    @cache  # noqa: B019
    def families(self) -> tuple[type[Component], ...]:
        """Return the sections' families, then every family a component nests, each once."""
        nested = dict.fromkeys(name for entry in self.entries for name in entry.nested)
        return tuple(dict.fromkeys([*SECTIONS.values(), Cluster, *map(imported, nested)]))

    def tagged(self, tag: str) -> list[type[Component]]:
        """Return every component of a tag, whatever its family."""
        return [entry.load() for entry in self.entries if entry.tag == tag]

    def stage(self, tag: str) -> list[type[Stage]]:
        """Return every stage's component of a tag, whatever its family."""
        return [leaf for leaf in self.tagged(tag) if issubclass(leaf, Stage)]


def discover(folders: Iterable[Path] = ()) -> Catalogue:
    """Find the components of the built-in folders, and import every module of the users' ``folders`` to collect theirs.

    Raises:
        SpecError: a user's file cannot be imported, components are declared wrongly, or two of a family share a tag; a folder
            of Temper's own is missing.
    """
    users = tuple(dict.fromkeys(Path(folder).resolve() for folder in folders))
    built_in = _built_in()
    entries = (*built_in, *_declared(modules_of(users)))
    _unique_tags(entries)
    return Catalogue(entries, users)


def _built_in() -> tuple[Entry, ...]:
    """Return Temper's own components; users' are imported at each start, since they may depend on anything."""
    for name in BUILT_IN:
        if not (PACKAGE / name).is_dir():
            raise SpecError.at(str(PACKAGE / name), 0, _NO_LINK)
    state = component_index.stamp(PACKAGE)  # before the imports, so that what changes during these is not missed
    if (entries := component_index.cached(PACKAGE, state)) is None:
        entries = _declared(_own_modules())
        component_index.cache(PACKAGE, state, entries)
    return entries


def _own_modules() -> Iterator[ModuleType]:
    for name in BUILT_IN:
        for path in sorted((PACKAGE / name).rglob("*.py")):
            relative = path.relative_to(PACKAGE).with_suffix("")
            if path.name != "__init__.py":
                yield importlib.import_module(".".join(["temper", *relative.parts]))


def _declared(modules: Iterable[ModuleType]) -> tuple[Entry, ...]:
    leaves = [leaf for module in modules for leaf in _leaves(module)]
    if faults := list(_misdeclared(leaves)):
        raise SpecError(faults)
    return tuple(map(Entry.of, leaves))


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
        if message := _declaration_problem(leaf):
            yield SpecProblem(inspect.getfile(leaf), inspect.getsourcelines(leaf)[1], leaf.__name__, message)


def _declaration_problem(leaf: type[Component]) -> str:
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


def _unique_tags(entries: Iterable[Entry]) -> None:
    seen: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        twin = seen.setdefault((entry.family, entry.tag), entry)
        if twin is not entry:
            leaf = entry.load()
            message = f"type '{entry.tag}' is already taken by {twin.module}.{twin.name}; choose another tag"
            raise SpecError(
                [SpecProblem(inspect.getfile(leaf), inspect.getsourcelines(leaf)[1], leaf.__name__, message)]
            )
