"""Errors: problems in the user's files, each with its line, and failures of running stages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class SpecProblem:
    """One problem in an experiment file.

    ``line`` counts from 1 and is 0 if there is none (a missing file, the command line); ``path`` is the dotted
    path of the value, empty for the file as a whole; ``message`` reads "what is wrong; how to fix it".
    """

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.path, self.message) if part)


class SpecError(Exception):
    """The user's files or command line are wrong; ``problems`` holds every problem found, by file and line."""

    def __init__(self, problems: Iterable[SpecProblem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.file, problem.line)))
        super().__init__(self.problems)

    @classmethod
    def at(cls, file: str, line: int, message: str) -> SpecError:
        """Return the error of one problem that belongs to no value."""
        return cls([SpecProblem(file, line, "", message)])

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class StageError(Exception):
    """A stage failed; the message says what was expected, what was received and what to do."""


class UndertrainedModelError(StageError):
    """A stage failed because its model is undertrained, as all models of a smoke run are."""


def dotted(path: KeyPath) -> str:
    """Return a path as users write it: ``evaluate.robustness.models[0]``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name closest to ``name``; empty if none is close."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{matches[0]}'?" if matches else ""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those that caused it, as a traceback shows them."""
    while error is not None:
        yield error
        # As the interpreter does: an explicit cause hides the context.
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
