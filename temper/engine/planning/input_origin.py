"""What an input resolves to, and what is known of its origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from temper.core.component import Part, Ref
from temper.core.dataset import Dataset
from temper.core.families import Generator, Localiser, Repair, Target
from temper.engine.planning.bound_component import BoundComponent, Input

_MADE_OF: Mapping[type, str] = {Generator: "data", Localiser: "model", Target: "dataset", Repair: "model"}
"""The field that names what an artefact of a family is made from, for the origin of its images and classes."""


def input_for(
    bound: BoundComponent, inputs: Mapping[str, Input], fingerprint: str, part: Part | None, names: Sequence[str]
) -> Input:
    """Return the input that resolves to a component's artefact; ``names`` are the class names of a data set."""
    component: Any = bound.component
    if isinstance(component, Dataset):
        return Input(fingerprint, part, origin=Ref(bound.stage, part).label, classes=names)
    field = next((field for family, field in _MADE_OF.items() if isinstance(component, family)), "")
    source = inputs.get(str(getattr(component, field, None)), Input())
    if not isinstance(component, Generator):
        return Input(fingerprint, part, classes=source.classes)
    perturbed = source.perturbed or component.perturbs
    return Input(fingerprint, part, origin=source.origin, perturbed=perturbed, classes=source.classes)
