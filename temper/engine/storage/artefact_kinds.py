"""Which class a stored artefact is of; those that components declare are known once these are imported."""

from __future__ import annotations

from temper.core.artefacts import Artefact
from temper.core.errors import StageError
from temper.engine.language.discovery import Catalogue
from temper.engine.storage.store import Damaged, Store
from temper.system.traversal import reachable


def kind_of_artefact(store: Store, fingerprint: str, catalogue: Catalogue) -> type[Artefact]:
    """Return the class of a stored artefact, declared by Temper or by a component of a catalogue.

    Raises:
        Damaged: it is missing or unreadable.
        StageError: the component that declares it is not there.
    """
    kind = store_kind(store, fingerprint)
    if kind not in _kinds():
        _ = catalogue.leaves  # imports the modules that may declare it
    if kind not in (known := _kinds()):
        raise StageError(
            f"artefacts of kind '{kind}' are of a component that is not there; name its folder as components"
        )
    return known[kind]


def store_kind(store: Store, fingerprint: str) -> str:
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
