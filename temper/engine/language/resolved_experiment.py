"""The experiment as it runs: one file, every default filled in."""

from __future__ import annotations

from typing import Any

import yaml

from temper.core.component import Component
from temper.engine.catalogue.sections import SECTIONS
from temper.engine.language.build import completed, plain
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
                **({"where": _plain(table.where)} if table.where else {}),
                "cell": table.cell,
                "best": table.best,
                "figure": table.figure,
                **({"caption": table.caption} if table.caption else {}),
                **({"against": table.against} if table.against else {}),
            }
            for table in experiment.tables
        }
    if experiment.expected:
        document["expected"] = [_plain(vars(value)) for value in experiment.expected]
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def _plain(value: Any) -> Any:
    if isinstance(value, Component):
        return plain(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if hasattr(value, "items"):
        return {key: _plain(item) for key, item in value.items()}
    return value
