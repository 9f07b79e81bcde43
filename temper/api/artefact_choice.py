"""Which artefact of a run is meant by a stage's name, a part, and values of axes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from temper.api.in_memory import plain
from temper.core.component import PARTS
from temper.core.errors import SpecError, did_you_mean
from temper.engine.catalogue.sections import SECTIONS
from temper.engine.language.axis_points import SEED
from temper.engine.language.written_values import fraction
from temper.engine.planning.bound_component import show_value

_STEM = re.compile(r"(?P<stage>[^.@\[]+)(?:\.(?P<part>[^.@\[]+))?(?:@(?P<against>[^.@\[]+))?")


@dataclass(frozen=True)
class Made:
    """An artefact by the label that people know it by: its stage, and where on the axes it is; ``part_of_data`` is read out of it."""

    label: str
    fingerprint: str
    stage: str
    section: str
    part: str | None
    against: str | None
    point: Mapping[str, str]
    part_of_data: str | None = None


def made_by_label(stored: Mapping[str, str], resolved: Mapping[str, Any]) -> Iterator[Made]:
    """Yield the artefacts of the stages that a run's provenance names; not what stages prepare, nor evaluations."""
    sections = {name: section for section in SECTIONS for name in resolved.get(section) or {}}
    axes = [*(resolved.get("axes") or {}), SEED]
    place = re.compile(f" (?=(?:{'|'.join(map(re.escape, axes))})=)")
    for label, fingerprint in stored.items():
        stem, *values = place.split(label)
        found = _STEM.fullmatch(stem)
        if found is None or found["stage"] not in sections or found["part"] not in (None, *PARTS):
            continue
        point = dict(value.split("=", 1) for value in values)
        yield Made(label, fingerprint, found["stage"], sections[found["stage"]], found["part"], found["against"], point)


def choose(
    where: str,
    made: Sequence[Made],
    axes: Mapping[str, Sequence[Any]],
    stage: str,
    part: str | None,
    against: str | None,
    values: Mapping[str, Any],
) -> Made:
    """Return the one artefact of a stage at values of axes; those on which it does not depend are ignored.

    Raises:
        SpecError: there is none, or more than one.
    """

    def refuse(message: str) -> SpecError:
        return SpecError.at(where, 0, message)

    own = [one for one in made if one.stage == stage]
    if not own:
        known = dict.fromkeys(one.stage for one in made)
        raise refuse(f"no stage '{stage}' made anything that can be loaded{_choice(stage, known)}")
    for axis in values:
        if axis not in axes:
            raise refuse(f"there is no axis '{axis}'{_choice(axis, axes)}")
    if part not in (None, *PARTS):
        raise refuse(f"expected a part of {', '.join(PARTS)}, received {part!r}")
    if own[0].section == "datasets":
        own = [replace(one, part_of_data=part) for one in own]
    elif own[0].section == "generate":
        own = _narrowed(own, "part", part or "test", refuse)
    elif part is not None:
        raise refuse(f"'{stage}' of {own[0].section}: has no parts; leave part out")
    if own[0].section == "generate" or against is not None:
        own = _narrowed(own, "against", against, refuse)
    for axis, value in values.items():
        own = _at(own, axis, value, axes[axis], refuse)
    if len(own) > 1:
        open_ = [axis for axis in axes if len({one.point.get(axis) for one in own}) > 1]
        hints = [f"{axis} ({', '.join(dict.fromkeys(str(one.point.get(axis)) for one in own))})" for axis in open_]
        raise refuse(f"'{stage}' made {len(own)} artefacts; choose by {', '.join(hints)}")
    return own[0]


def _narrowed(made: Sequence[Made], name: str, wanted: str | None, refuse: Any) -> list[Made]:
    found = [one for one in made if getattr(one, name) == wanted]
    if not found:
        there = dict.fromkeys(str(getattr(one, name)) for one in made)
        raise refuse(f"'{made[0].stage}' was not made with {name} {wanted}; there is {', '.join(there)}")
    return found


def _at(made: Sequence[Made], axis: str, value: Any, known: Sequence[Any], refuse: Any) -> list[Made]:
    shown = show_value(fraction(plain(value)))
    if len([one for one in known if show_value(one) == shown]) > 1:
        raise refuse(f"several values of {axis} are {shown} to six digits, which labels do not tell apart")
    found = [one for one in made if one.point.get(axis, shown) == shown]
    if not found:
        there = dict.fromkeys(one.point[axis] for one in made)
        raise refuse(f"'{made[0].stage}' was not made at {axis} {shown}; there is {', '.join(there)}")
    return found


def _choice(name: str, known: Any) -> str:
    return did_you_mean(name, known) or f"; there is {', '.join(known) or 'none'}"
