"""Reads a cluster file: where the workers of a run live."""

from __future__ import annotations

from pathlib import Path

from temper.core.cluster import Cluster
from temper.core.errors import KeyPath, SpecError, SpecProblem
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.catalogue.schema_validation import Validator
from temper.engine.language.build import build, located, map_files
from temper.engine.syntax import extends


def load(path: Path, catalogue: Catalogue) -> Cluster:
    """Return the cluster that a YAML or JSON file describes; it may extend another, as experiments do.

    Raises:
        SpecError: with every problem of the file.
    """
    layered = extends.load(path)
    faults: list[SpecProblem] = [fault for _, fault in layered.unread]
    raw = dict(layered.data)
    faults.extend(layered.fault(place, message) for place, message in Validator(catalogue).component(Cluster, raw))
    if faults:
        raise SpecError(faults)
    leaf = catalogue.of(Cluster)[raw["type"]]

    def settled(place: KeyPath, text: str) -> str:
        full, message = located(text, layered.folder_of(place).resolve())
        if message:
            faults.append(layered.fault(place, message))
        return full

    raw = map_files(raw, leaf, catalogue, settled)
    if faults:  # anything but a regular file must not be read
        raise SpecError(faults)
    cluster = build(leaf, raw, catalogue)
    assert isinstance(cluster, Cluster)
    faults.extend(layered.fault((field,) if field else (), message) for field, message in cluster.check())
    if faults:
        raise SpecError(faults)
    return cluster
