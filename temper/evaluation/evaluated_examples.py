"""The examples a model is evaluated on: as stored, or regenerated against it."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from temper.core.classifier import Classifier
from temper.core.component import Ref

Protocol = Literal["transfer", "white_box"]


def evaluated(ref: Ref[Any], model: Ref[Classifier], protocol: Protocol) -> Ref[Any]:
    """Return the examples a model is evaluated on: as stored, or (white box) regenerated against it."""
    return dataclasses.replace(ref, against=model.stage) if protocol == "white_box" else ref
