"""Grids of example images for the report: the first ones, some of each class, some of each direction of faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from temper.core.report_spec import ClassGrid, DirectionGrid, ImageGrid, Picture, PictureContext

DIRECTIONS = 8
"""Directions of faults that are shown, the most frequent ones."""
Integers = NDArray[np.int64]


class ShownImages(Protocol):
    """Images with their labels, the indices of their originals, and metadata, as in ``Examples``."""

    @property
    def x(self) -> NDArray[np.float32]: ...
    @property
    def y(self) -> Integers: ...
    @property
    def index(self) -> Integers: ...
    @property
    def info(self) -> Mapping[str, Any]: ...


class ChangedAnswers(ShownImages, Protocol):
    """Images with the labels by two versions of a model, int64 (n,), as in ``RegressionFaults``."""

    @property
    def v1(self) -> Integers: ...
    @property
    def v2(self) -> Integers: ...


def example_grids(context: PictureContext, made: ShownImages, first: int, per_class: int) -> Iterator[Picture]:
    """Yield grids of the first images and of some of each class; none for images without known originals."""
    rows = np.arange(min(first, len(made.y)))
    clean = context.originals(made.index[rows]) if len(rows) else None
    if clean is None:
        return
    # The class that the attacked model predicted, of some images.
    predicted = {int(row): int(label) for row, label in made.info.get("predicted", {}).items()}
    names = context.class_names(max(int(made.y.max()), *predicted.values(), 0) + 1)
    yield ImageGrid(
        name=context.name,
        clean=clean,
        perturbed=np.asarray(made.x[rows]),
        true=[names[label] for label in made.y[rows]],
        predicted=[_named(names, predicted.get(int(row))) for row in rows],
    )
    labels = np.unique(made.y)
    chosen = [np.flatnonzero(made.y == label)[:per_class] for label in labels]
    yield ClassGrid(
        name=context.name,
        classes=[names[label] for label in labels],
        clean=_originals(context, made, chosen),
        made=[np.asarray(made.x[rows]) for rows in chosen],
        predicted=[[_named(names, predicted.get(int(row))) for row in rows] for rows in chosen],
        wrong=[
            [predicted.get(int(row)) not in (None, label) for row in rows]
            for label, rows in zip(labels, chosen, strict=True)
        ],
    )


def direction_grid(context: PictureContext, made: ChangedAnswers, per_direction: int) -> Iterator[Picture]:
    """Yield a grid of the most frequent directions of faults; none for images without known originals."""
    if not len(made.y) or context.originals(made.index[:1]) is None:
        return
    pairs, counts = np.unique(np.stack([made.v1, made.v2]), axis=1, return_counts=True)
    names = context.class_names(int(pairs.max()) + 1)
    frequent = np.argsort(-counts, kind="stable")[:DIRECTIONS]
    chosen = [_spread(made, pairs[:, direction], per_direction) for direction in frequent]
    yield DirectionGrid(
        name=context.name,
        classes=[
            f"{names[old]} → {names[new]} ({count:,})"
            for (old, new), count in zip(pairs.T[frequent], counts[frequent], strict=True)
        ],
        clean=_originals(context, made, chosen),
        made=[np.asarray(made.x[rows]) for rows in chosen],
        predicted=[[names[label] for label in made.v2[rows]] for rows in chosen],
        wrong=[[True] * len(rows) for rows in chosen],
    )


def _originals(context: PictureContext, made: ShownImages, chosen: Sequence[Integers]) -> list[NDArray[Any]]:
    found = [context.originals(made.index[rows]) for rows in chosen]
    return [images for images in found if images is not None]


def _spread(made: ChangedAnswers, pair: Integers, count: int) -> Integers:
    """Return a few rows of one direction, of different images, from the first found to the last."""
    rows = np.flatnonzero((made.v1 == pair[0]) & (made.v2 == pair[1]))
    first = np.sort(rows[np.unique(made.index[rows], return_index=True)[1]])
    evenly = np.unique(np.linspace(0, len(first) - 1, count).round().astype(int))
    return np.asarray(first[evenly])


def _named(names: Sequence[str], label: int | None) -> str:
    return "" if label is None else names[label]
