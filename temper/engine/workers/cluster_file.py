"""Reads a cluster file: where the workers of a run live."""

from __future__ import annotations

from pathlib import Path

from temper.core.cluster import Cluster
from temper.core.errors import KeyPath, SpecError, SpecProblem
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.catalogue.schema_validation import Validator
from temper.engine.language.build import build
from temper.engine.language.written_values import converted, located
from temper.engine.syntax import extends


def load(path: Path, catalogue: Catalogue) -> Cluster:
    """Return the cluster that a YAML or JSON file describes; it may extend another, as experiments do.

    Raises:
        SpecError: with every problem of the file.
    """
    layered = extends.load(path)
    problems: list[SpecProblem] = [problem for _, problem in layered.unread]

    def settled(place: KeyPath, text: str) -> str:
        full, message = located(text, layered.folder_of(place).resolve())
        if message:
            problems.append(layered.problem(place, message))
        return full

    leaf = catalogue.of(Cluster).get(str(layered.data.get("type")))
    raw = converted(layered.data, leaf, catalogue, settled) if leaf else layered.data
    problems.extend(layered.problem(place, message) for place, message in Validator(catalogue).component(Cluster, raw))
    if problems:  # anything but a regular file must not be read
        raise SpecError(problems)
    assert leaf is not None
    cluster = build(leaf, raw, catalogue)
    assert isinstance(cluster, Cluster)
    problems.extend(layered.problem((field,) if field else (), message) for field, message in cluster.check())
    if problems:
        raise SpecError(problems)
    return cluster
