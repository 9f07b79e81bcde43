"""What an input leads to, and what is known of where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from temper.core.component import Part, Ref
from temper.core.dataset import Dataset
from temper.core.families import Generator, Localiser, Repair, Target
from temper.engine.planning.bound_component import BoundComponent, Input

_MADE_OF: Mapping[type, str] = {Generator: "data", Localiser: "model", Target: "dataset", Repair: "model"}
"""The field that says what an artefact of a family is made of, as far as images and classes go."""


def lead(
    bound: BoundComponent, inputs: Mapping[str, Input], fingerprint: str, part: Part | None, names: Sequence[str]
) -> Input:
    """Return the input that leads to the artefact of a component; ``names`` are the classes' where it is a data set."""
    component: Any = bound.component
    if isinstance(component, Dataset):
        return Input(fingerprint, part, origin=Ref(bound.stage, part).label, classes=names)
    field = next((field for family, field in _MADE_OF.items() if isinstance(component, family)), "")
    source = inputs.get(str(getattr(component, field, None)), Input())
    if not isinstance(component, Generator):
        return Input(fingerprint, part, classes=source.classes)
    perturbed = source.perturbed or component.perturbs
    return Input(fingerprint, part, origin=source.origin, perturbed=perturbed, classes=source.classes)
