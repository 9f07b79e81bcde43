"""Which class a stored artefact is of, where components are imported only when they are needed."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from temper.core.artefacts import Results
from temper.core.errors import StageError
from temper.engine.storage import artefact_kinds
from temper.engine.storage.artefact_kinds import artefact_class
from temper.engine.storage.store import Store


class Components:
    """A catalogue whose components declare an artefact of their own as they are imported."""

    @cached_property
    def leaves(self) -> tuple[()]:
        self.late = type("Late", (Results,), {"kind": "late"})
        return ()


def test_components_are_imported_for_a_kind_that_is_not_known_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    components: Any = Components()
    kinds = {"a": "results", "b": "late", "c": "never"}
    monkeypatch.setattr(artefact_kinds, "stored_kind", lambda store, fingerprint: kinds[fingerprint])
    store = Store(tmp_path)
    assert artefact_class(store, "a", components) is Results
    assert "leaves" not in vars(components)
    assert artefact_class(store, "b", components) is components.late
    with pytest.raises(StageError, match="no component defines artefacts of kind 'never'"):
        artefact_class(store, "c", components)
