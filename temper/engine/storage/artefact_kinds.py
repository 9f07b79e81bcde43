"""Maps stored artefacts to their classes; a component's artefact class is known once the component is imported."""

from __future__ import annotations

from temper.core.artefacts import Artefact
from temper.core.errors import StageError
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.storage.store import Damaged, Store
from temper.system.traversal import reachable


def artefact_class(store: Store, fingerprint: str, catalogue: Catalogue) -> type[Artefact]:
    """Return the class of a stored artefact, defined by Temper or by a component of a catalogue.

    Raises:
        Damaged: it is missing or unreadable.
        StageError: the component that defines its class is not imported.
    """
    kind = stored_kind(store, fingerprint)
    if kind not in _kinds():
        _ = catalogue.leaves  # imports the modules that may define it
    if kind not in (known := _kinds()):
        raise StageError(
            f"no component defines artefacts of kind '{kind}'; name the folder of that component with --components"
        )
    return known[kind]


def stored_kind(store: Store, fingerprint: str) -> str:
    """Return the kind of a stored artefact.

    Raises:
        Damaged: it is missing or unreadable.
    """
    try:
        return str(store.meta(fingerprint)["kind"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(fingerprint, str(error)) from error


def _kinds() -> dict[str, type[Artefact]]:
    classes = reachable(Artefact.__subclasses__(), lambda cls: cls.__subclasses__())
    return {cls.kind: cls for cls in classes if "kind" in vars(cls)}
