"""What a model is judged on: examples as they are, or made anew against it."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from temper.core.classifier import Classifier
from temper.core.component import Ref

Protocol = Literal["transfer", "white_box"]


def judged(ref: Ref[Any], model: Ref[Classifier], protocol: Protocol) -> Ref[Any]:
    """Return what a model is judged on: as it is, or (white box) made anew against it."""
    return dataclasses.replace(ref, against=model.stage) if protocol == "white_box" else ref
