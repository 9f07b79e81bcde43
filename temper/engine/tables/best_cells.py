"""Finds the best cells of a table, which are printed in bold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TypeVar

from temper.engine.tables.cells import Cell

K = TypeVar("K")


def best_cells(cells: Mapping[tuple[K, K], Cell], percent: bool) -> frozenset[tuple[K, K]]:
    """Return the (row, column) of the best cells of each column among those of the same metric, including ties."""
    rivals: dict[tuple[K, str], list[tuple[float, K]]] = defaultdict(list)
    for (row, column), cell in cells.items():
        if cell.values and cell.higher_is_better is not None and cell.mean == cell.mean:
            # Compared as printed: numbers that look equal must not differ in weight.
            printed = float(cell.mean_text(percent).replace("∞", "inf"))
            rivals[column, cell.metric].append((printed if cell.higher_is_better else -printed, row))
    return frozenset(
        (row, column)
        for (column, _), scores in rivals.items()
        if len(scores) > 1  # a single number is not the best of anything
        for score, row in scores
        if score == max(other for other, _ in scores)
    )
