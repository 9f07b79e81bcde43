"""Source code that changes during a run: an artefact computed with it does not match its fingerprint."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from temper.core.component import Component
from temper.core.errors import StageError
from temper.engine.storage import source_code
from temper.engine.storage.digests import Digests

_EXPECTED: dict[str, str] = {}
"""Digests the runner planned with, of modules that this process has not imported yet or imported in another state."""


def expect(modules: Mapping[str, str]) -> None:
    """Store the digests of modules as a run begins; modules that are already imported stay as they were loaded."""
    _EXPECTED.update((name, digest) for name, digest in modules.items() if name not in sys.modules)


def refuse_changed_code(component: Component) -> None:
    """Raise an error if a component was computed with a module that changed before it was first imported.

    Raises:
        StageError: it was.
    """
    changed = {name for name in [*_EXPECTED] if name in sys.modules and not _was_imported_as_expected(name)}
    if not changed:
        return
    digests = Digests(Path(os.devnull))
    homes = {type(part).__module__ for part in component.with_nested()}
    if mine := sorted(changed & set().union(*map(digests.closure, homes))):
        raise StageError(
            f"{', '.join(mine)} changed after this run had begun, before it was imported; the artefact is not kept: run the "
            "same command again"
        )


def _was_imported_as_expected(name: str) -> bool:
    with suppress(OSError, SyntaxError):
        path = source_code.file_of(name)
        if path is None or source_code.parse(path, name)["digest"] == _EXPECTED[name]:
            del _EXPECTED[name]  # loaded: later changes to the file do not affect this process
            return True
    return False
