"""Names and values that a file may not choose, because results could not be told apart or would overwrite each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.component import Plain
from core.faults import KeyPath
from core.language.build import fraction
from core.language.smoke import SUFFIX
from core.naming import label

FILES = ("classes", "expected", "failures", "results")
"""What CSV files beside the tables are called, without their ending."""


def faults(data: Mapping[str, Any], name: str) -> Iterator[tuple[KeyPath, str]]:
    """Yield (path, message) for names of the experiment, of tables and of evaluations that are taken.

    ``name`` is the experiment's, which is its file's where it states none.
    """
    if name != data.get("name") and name.startswith("."):
        yield ("name",), f"a folder of results cannot be called '{name}' like the file; state another 'name'"
    if name.endswith(SUFFIX):
        yield ("name",), f"'{name}' is where --smoke keeps its results; choose a name that does not end in {SUFFIX}"
    for section in ("evaluate", "tables"):
        entries = data.get(section)
        for entry in entries if isinstance(entries, Mapping) else ():
            # Some file systems take capital letters for small ones.
            if str(entry).lower() in FILES:
                yield (section, entry), f"the results have a file {str(entry).lower()}.csv; choose another name"


def twin(value: Any, others: Sequence[Any]) -> Any:
    """Return which of the other values of an axis is the same as one but written differently; ``None``: none is.

    Values are the same if they are equal, as 1/2 and 0.5, 1 and true, or have the same label, as 0.1 and "0.1".
    """
    if isinstance(value, list | Mapping):
        return None  # the schema says so
    for other in others:
        if isinstance(other, list | Mapping) or (value == other and isinstance(value, bool) == isinstance(other, bool)):
            continue  # what is written alike is a fault of the schema
        one, two = fraction(value), fraction(other)
        if one == two or _shown(one) == _shown(two):
            return other
    return None


def _shown(value: Plain) -> str:
    return str(value).lower() if isinstance(value, bool) else label(value)
