"""Combinations of clusters: the joint assignment of some units' values to clusters for an input."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from temper.core.errors import StageError
from temper.evaluation.coverage.value_clusters import Floats, centroids, nearest, published
from temper.nn.adequacy.coverage import CellCoverage, Counts
from temper.nn.adequacy.reference_data import Arrays, remarks
from temper.nn.inspection.activations import Activations
from temper.nn.inspection.units import UnitLayer

Quantiser = Callable[[str, NDArray[Any]], Floats]
"""Maps a layer's name and the values of one of its units, (n,), to the centres of their clusters, ascending."""
Centres = Annotated[
    Literal["own", "published"],
    "own: values of exactly 0, an inactive unit, form a separate cluster; published: as in DeepImportance's code, zeros of "
    "dense layers are excluded and then nearest to another cluster, centres have two decimals, and fewer than ten values "
    "have one centre, 0",
]
_MOST = 2**24
"""Maximum number of combinations to count; no test set covers more."""


def quantiser(kind: Literal["own", "published"], most: int, layers: Iterable[UnitLayer]) -> Quantiser:
    """Return a function that clusters values, with at most ``most`` besides 0; ``layers`` mark feature maps."""
    maps = {layer.name for layer in layers if layer.is_map}
    if kind == "own":
        return lambda layer, values: centroids(values, most)
    return lambda layer, values: published(values, most, layer in maps)


def learn(seen: Activations, groups: Mapping[str, NDArray[np.int64]], quantise: Quantiser) -> dict[str, NDArray[Any]]:
    """Return the clusters of the values of chosen units, as a profile of arrays.

    ``groups`` are the chosen units of each layer, by their position in it.

    Raises:
        StageError: no unit is chosen.
    """
    chosen = [(i, name, part.start + unit) for i, (name, units) in enumerate(groups.items())
              for part in seen.columns([name]) for unit in units]  # fmt: skip
    if not chosen:
        raise StageError("expected units to combine, received none; use other layers")
    found = [quantise(name, np.asarray(seen.means[:, column])) for _, name, column in chosen]
    table = np.full((len(found), max(map(len, found))), np.nan)
    for row, centres in zip(table, found, strict=True):
        row[: len(centres)] = centres
    group, columns = np.array([(i, column) for i, _, column in chosen], np.int64).T
    return {"group": group, "columns": columns, "centroids": table}


def coverage(profile: Arrays, view: Callable[[Activations], Activations] = lambda seen: seen) -> CellCoverage:
    """Return the coverage of the combinations of each group's clusters, of no input yet.

    ``view`` maps the activations of inputs to those whose units were chosen.

    Raises:
        StageError: there are too many combinations to count.
    """
    group, columns = np.asarray(profile["group"]), np.asarray(profile["columns"])
    centres: list[Floats] = [row[~np.isnan(row)] for row in np.asarray(profile["centroids"])]
    members = [np.flatnonzero(group == g) for g in np.unique(group)]
    sizes = [math.prod(len(centres[i]) for i in rows) for rows in members]
    if sum(sizes) > _MOST:
        raise StageError(
            f"expected at most {_MOST:,} combinations of clusters, received {sum(sizes):,}; choose fewer units or clusters"
        )
    firsts = np.cumsum([0, *sizes[:-1]])

    def hits(seen: Activations) -> Counts:
        means, codes = view(seen).means, np.empty((len(seen), len(members)), np.int64)
        for g, rows in enumerate(members):
            code = np.zeros(len(seen), np.int64)
            for i in rows:
                code = code * len(centres[i]) + nearest(np.asarray(means[:, columns[i]]), centres[i])
            codes[:, g] = firsts[g] + code
        return codes

    return CellCoverage(
        sum(sizes), hits, remarks=(f"{len(columns)} units with {_counts(centres)} clusters", *remarks(profile))
    )


def _counts(centres: list[Floats]) -> str:
    numbers = sorted({len(row) for row in centres})
    return f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
