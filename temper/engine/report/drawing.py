"""Renders the pictures of a report other than those of tables, each with its file name and caption."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, count

from temper.core.report_spec import (
    MAX_CLASSES,
    ClassGrid,
    DirectionGrid,
    FaultCurves,
    ImageGrid,
    LayerMap,
    Picture,
    RelevanceMap,
    ScoreCorrelations,
    ScoreHistograms,
)
from temper.engine.report.image_grids import class_figure, grid_figure
from temper.engine.report.localisation_maps import layer_figure, relevance_figure
from temper.engine.report.score_plots import correlation_figure, fault_figure, histogram_figure

MAX_NAME = 180
"""Maximum length of a file name before prefixes and suffixes are added; file systems allow 255 bytes."""


@dataclass(frozen=True)
class RenderedPicture:
    """A picture as PNG, with its file name without extension and its caption."""

    name: str
    png: bytes
    caption: str


def draw(picture: Picture) -> RenderedPicture:
    """Render a picture for the report."""
    kind, png, caption = _render(picture)
    return RenderedPicture(f"{kind}_{file_name(picture.name)}", png, f"{picture.name}{caption}")


def _render(picture: Picture) -> tuple[str, bytes, str]:
    match picture:
        case ImageGrid():
            return "examples", grid_figure(picture), ""
        case DirectionGrid():
            arrows = "label of the old version → label of the new version, with the number of faults"
            return "directions", class_figure(picture), f": the most frequent directions of faults; {arrows}"
        case ClassGrid():
            known = any(text for row in picture.predicted for text in row)
            frames = "; framed with the prediction if it is known, red if wrong" if known else ""
            return "classes", class_figure(picture), f", by class{frames}{_first(picture.classes)}"
        case RelevanceMap():
            scale = "red for, blue against the class, each on the scale below it"
            return "relevance", relevance_figure(picture), f": relevance of pixels; {scale}{_first(picture.classes)}"
        case LayerMap():
            outlined = "score of each unit, layer by layer; selected units outlined"
            return "units", layer_figure(picture), f": {outlined}{_first(picture.classes)}"
        case ScoreHistograms():
            return "scores", histogram_figure(picture), ": scores by set; the outermost bins include values beyond them"
        case ScoreCorrelations():
            return "correlations", correlation_figure(picture), ": Spearman's rank correlation of scores, by set"
        case FaultCurves():
            dotted = "dotted: the optimal order, and a random one"
            return "faults", fault_figure(picture), f": faults found along each order; {dotted}"


def _first(classes: Sequence[str]) -> str:
    count = len(classes)
    return f"; the first {MAX_CLASSES} of {count} classes" if count > MAX_CLASSES else ""


def file_name(name: str) -> str:
    """Return a name with characters that a file system may reject replaced by ``-``; a long one ends in a digest."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    return plain if len(plain) <= MAX_NAME else f"{plain[: MAX_NAME - 9]}-{sha256(name.encode()).hexdigest()[:8]}"


def file_names(names: Iterable[str]) -> list[str]:
    """Return ``file_name`` of each name, numbered if it equals an earlier one, ignoring case."""
    found: list[str] = []
    taken: set[str] = set()
    for name in map(file_name, names):
        numbered = chain([name], (f"{name}-{number}" for number in count(2)))
        found.append(next(one for one in numbered if one.lower() not in taken))
        taken.add(found[-1].lower())
    return found
