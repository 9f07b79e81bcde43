"""Names and values that a file may not use, because results would be ambiguous or overwrite each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from temper.core.component import Plain
from temper.core.display_names import label
from temper.core.errors import KeyPath
from temper.engine.catalogue.experiment_schema import FOLDER
from temper.engine.catalogue.schema_validation import show
from temper.engine.catalogue.sections import SECTIONS
from temper.engine.language.smoke_run import SUFFIX
from temper.engine.language.written_values import fraction

FILES = ("classes", "expected", "failures", "results")
"""The names of CSV files other than those of tables, without their ending."""
LONGEST = 100
"""Maximum length of a name: file names extend it, and file systems allow 255 bytes."""
DEVICES = frozenset(["con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(1, 10))])
"""Names that Windows takes for devices, whatever their ending."""
_FOLDER = re.compile(FOLDER)


def problems(data: Mapping[str, Any], name: str) -> Iterator[tuple[KeyPath, str]]:
    """Yield (path, message) for names of the experiment, of axes, stages and tables that are taken or invalid as file names.

    ``name`` is the experiment's, by default that of its file.
    """
    if name != data.get("name") and not _FOLDER.search(name):
        yield ("name",), f"a folder of results cannot be called {show(name)} like the file; state another 'name'"
    elif name.endswith("."):
        yield ("name",), f"{show(name)} ends in '.', which Windows takes off the name of a folder; choose another name"
    yield from ((("name",), message) for message in _unfit(name))
    if name.endswith(SUFFIX):
        yield ("name",), f"'{name}' is where --smoke keeps its results; choose a name that does not end in {SUFFIX}"
    written: dict[str, tuple[str, str]] = {}
    for section in ("axes", *SECTIONS, "tables"):
        entries = data.get(section)
        for entry in map(str, entries) if isinstance(entries, Mapping) else ():
            yield from (((section, entry), message) for message in _unfit(entry))
            if section not in ("evaluate", "tables"):
                continue
            # Some file systems ignore the case of letters.
            small = entry.lower()
            if small in FILES:
                yield (section, entry), f"the results have a file {small}.csv; choose another name"
            place, other = written.setdefault(small, (section, entry))
            if other != entry:
                yield (
                    (section, entry),
                    f"{place}.{other} differs in capital letters only, and so would their files; rename one",
                )


def _unfit(name: str) -> Iterator[str]:
    """Yield the reasons why a name is no valid file name."""
    if len(name) > LONGEST:
        yield f"the name has {len(name)} letters; at most {LONGEST} are allowed, since files are called after it"
    if name.partition(".")[0].lower() in DEVICES:
        yield f"'{name}' is a device on Windows, where no file can be called so; choose another name"
    if name.endswith("\n"):  # `$` in a pattern matches before it
        yield "the name ends in a line break; take it out"


def twin(value: Any, others: Sequence[Any]) -> Any:
    """Return which other value of an axis is the same as one but written differently; ``None``: none is.

    Values are the same if they are equal, as 1/2 and 0.5, 1 and true, or have the same label, as 0.1 and "0.1".
    """
    if isinstance(value, list | Mapping):
        return None  # reported by the schema
    for other in others:
        if isinstance(other, list | Mapping) or (value == other and isinstance(value, bool) == isinstance(other, bool)):
            continue  # identical values are reported by the schema
        one, two = fraction(value), fraction(other)
        if one == two or _shown(one) == _shown(two):
            return other
    return None


def _shown(value: Plain) -> str:
    return str(value).lower() if isinstance(value, bool) else label(value)
