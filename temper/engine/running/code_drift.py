"""Detects source code that changes during a run: an artefact computed with it does not match its fingerprint."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from temper.core.component import Component
from temper.core.errors import StageError
from temper.engine.storage import code_digest
from temper.engine.storage.digests import Digests

_EXPECTED: dict[str, str] = {}
"""Digests that the plan is based on, of modules not imported yet or imported with other code."""


def expect(modules: Mapping[str, str]) -> None:
    """Record the digests of modules as a run begins; a module that is already imported cannot change any more."""
    _EXPECTED.update((name, digest) for name, digest in modules.items() if name not in sys.modules)


def check_unchanged_code(component: Component) -> None:
    """Raise an error if a component uses a module that changed between planning and its first import.

    Raises:
        StageError: it does.
    """
    changed = {name for name in [*_EXPECTED] if name in sys.modules and not _was_imported_as_expected(name)}
    if not changed:
        return
    digests = Digests(Path(os.devnull))
    own_modules = {type(part).__module__ for part in component.with_nested()}
    if used := sorted(changed & set().union(*map(digests.closure, own_modules))):
        raise StageError(
            f"{', '.join(used)} changed after this run began and before it was imported, so the artefact is discarded; "
            "run the same command again"
        )


def _was_imported_as_expected(name: str) -> bool:
    with suppress(OSError, SyntaxError):
        path = code_digest.file_of(name)
        if path is None or code_digest.digest_and_imports(path, name)["digest"] == _EXPECTED[name]:
            del _EXPECTED[name]  # loaded: later changes to the file do not affect this process
            return True
    return False
