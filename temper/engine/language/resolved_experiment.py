"""The experiment as it runs: one file, every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from temper.core.component import Component, Kind, fields_of
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.catalogue.sections import SECTIONS
from temper.engine.language.build import plain_value
from temper.engine.language.experiment import Experiment
from temper.engine.language.on_out_of_memory import KEY


def resolved(experiment: Experiment) -> str:
    """Return the YAML text of an experiment with defaults filled in, ``extends`` and overrides merged."""
    document: dict[str, Any] = {"name": experiment.name}
    if experiment.description:
        document["description"] = experiment.description
    document |= {"mode": experiment.mode, "seeds": list(experiment.seeds), "threads": experiment.threads}
    if experiment.axes:
        document["axes"] = {name: list(values) for name, values in experiment.axes.items()}
    if experiment.on_out_of_memory:
        document[KEY] = {name: f"/{divisor}" for name, divisor in experiment.on_out_of_memory.items()}
    for section in SECTIONS:
        stages = {
            name: completed(spec.raw, spec.cls, experiment.catalogue)
            for name, spec in experiment.stages.items()
            if spec.section == section
        }
        if stages:
            document[section] = stages
    if experiment.tables:
        document["tables"] = {
            table.name: {
                "from": table.source,
                "rows": list(table.rows),
                "columns": list(table.columns),
                **({"metric": table.metric} if table.metric else {}),
                **({"where": plain_value(table.where)} if table.where else {}),
                "cell": table.cell,
                "best": table.best,
                "figure": table.figure,
                **({"caption": table.caption} if table.caption else {}),
                **({"against": table.against} if table.against else {}),
            }
            for table in experiment.tables
        }
    if experiment.expected:
        document["expected"] = [plain_value(vars(value)) for value in experiment.expected]
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def completed(raw: Mapping[str, Any], cls: type[Component], catalogue: Catalogue) -> dict[str, Any]:
    """Return plain values with every default filled in, inside nested components too; ``$name`` stays."""
    values: dict[str, Any] = {"type": cls.tag}
    for field in fields_of(cls):
        if field.name in raw:
            values[field.name] = _completed(raw[field.name], field.kind, catalogue)
        elif not field.required:
            values[field.name] = plain_value(field.default)
    return values


def _completed(value: Any, kind: Kind, catalogue: Catalogue) -> Any:
    if kind.name == "nested" and isinstance(value, Mapping):
        assert kind.target is not None
        return completed(value, catalogue.of(kind.target)[value["type"]], catalogue)
    if kind.item is not None:
        if kind.name == "many" and isinstance(value, list):
            return [_completed(item, kind.item, catalogue) for item in value]
        return _completed(value, kind.item, catalogue)
    return value
