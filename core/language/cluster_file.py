"""Reads a cluster file: where the workers of a run live."""

from __future__ import annotations

from pathlib import Path

from core.cluster import Cluster
from core.component import fields_of
from core.faults import Fault, SpecError
from core.language import compose
from core.language.build import build, located
from core.language.discovery import Catalogue
from core.language.validate import Validator


def load(path: Path, catalogue: Catalogue) -> Cluster:
    """Return the cluster a YAML or JSON file describes; it may extend another, as experiments do.

    Raises:
        SpecError: with every fault of the file.
    """
    layered = compose.load(path)
    faults: list[Fault] = [fault for _, fault in layered.unread]
    raw = dict(layered.data)
    faults.extend(layered.fault(place, message) for place, message in Validator(catalogue).component(Cluster, raw))
    if faults:
        raise SpecError(faults)
    leaf = catalogue.of(Cluster)[raw["type"]]
    for field in fields_of(leaf):
        if field.is_file and raw.get(field.name) is not None:
            raw[field.name], message = located(raw[field.name], layered.folder_of((field.name,)).resolve())
            if message:
                faults.append(layered.fault((field.name,), message))
    cluster = build(leaf, raw, catalogue)
    assert isinstance(cluster, Cluster)
    faults.extend(layered.fault((field,) if field else (), message) for field, message in cluster.check())
    if faults:
        raise SpecError(faults)
    return cluster
