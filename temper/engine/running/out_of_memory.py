"""Out of memory: how it is detected, and the reduced settings of a retry."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from temper.core.component import Component, Field, fields_of
from temper.core.errors import causes

MAX_TRIES = 3
"""How often a stage is retried with reduced settings within one run."""
_NAMES = {"ResourceExhaustedError", "OutOfMemoryError"}
"""Names of the exceptions of TensorFlow and PyTorch."""
_WORDS = ("RESOURCE_EXHAUSTED", "out of memory", "can't allocate memory")
"""What JAX, and PyTorch without a GPU, report in a ``RuntimeError``."""

C = TypeVar("C", bound=Component)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an exception, or one that caused it, reports that the machine or a GPU is out of memory."""
    return any(
        isinstance(cause, MemoryError)
        or not _NAMES.isdisjoint(cls.__name__ for cls in type(cause).__mro__)
        or (isinstance(cause, RuntimeError) and any(words in str(cause) for words in _WORDS))
        for cause in causes(error)
    )


@dataclass(frozen=True)
class OutOfMemoryRetry:
    """The fields to divide when a stage runs out of memory, and their divisors.

    ``divisors`` are keyed by field, for every stage in which the field is only a chunk size, or by ``stage.field``,
    for any field of that stage.
    """

    divisors: Mapping[str, int]

    def reduce(self, component: C, stage: str) -> C:
        """Return a stage's component with reduced settings; the same one if nothing can be reduced."""
        changes = {}
        for field in fields_of(type(component)):
            value = getattr(component, field.name)
            reduced = self._reduce_value(field, value, stage)
            if reduced != value:
                changes[field.name] = reduced
        return replace(component, **changes) if changes else component  # type: ignore[type-var]

    def _reduce_value(self, field: Field, value: Any, stage: str) -> Any:
        if isinstance(value, Component):
            return self.reduce(value, stage)
        if isinstance(value, tuple):
            return tuple(self.reduce(item, stage) if isinstance(item, Component) else item for item in value)
        divisor = self.divisors.get(f"{stage}.{field.name}", self.divisors.get(field.name) if field.at_once else None)
        if divisor is None or not is_number(value):
            return value
        least = math.ceil(field.bounds.ge) if field.bounds and field.bounds.ge is not None else 1
        return max(value // divisor, min(value, least))


def is_number(value: object) -> bool:
    """Return whether a value is a whole number, which can be divided."""
    return isinstance(value, int) and not isinstance(value, bool)


DEPENDS = "and its results depend on it"


def changes(before: Component, after: Component, place: str = "") -> dict[str, list[int | str]]:
    """Return the numbers that differ between two versions of a component, each as before and after, by dotted path.

    ``DEPENDS`` follows where the artefact depends on a number that is only a chunk size.
    """
    found: dict[str, list[int | str]] = {}
    for field in fields_of(type(before)):
        pairs = _pairs(getattr(before, field.name), getattr(after, field.name), f"{place}{field.name}")
        for path, was, now in pairs:
            if isinstance(was, Component):
                found |= changes(was, now, f"{path}.")
            elif was != now:
                found[path] = [was, now, *([DEPENDS] if field.at_once and before.depends_on(field.name) else [])]
    return found


def _pairs(before: Any, after: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, tuple):
        yield from ((f"{path}[{i}]", *pair) for i, pair in enumerate(zip(before, after, strict=True)))
    else:
        yield path, before, after


def changes_in_words(changed: Mapping[str, Any]) -> str:
    """Return the changes as text: ``batch_size 250 instead of 500``."""
    return ", ".join(
        " ".join([f"{name} {now} instead of {was}", *notes]) for name, (was, now, *notes) in changed.items()
    )
