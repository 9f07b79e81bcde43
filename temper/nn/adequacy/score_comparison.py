"""Pictures that compare scores, and orders, of one model: distributions, rank correlations, and faults found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from temper.core.report_spec import FaultCurves, Picture, ScoreCorrelations, ScoreHistograms

Values = NDArray[np.float64]


def score_pictures(model: str, sets: Mapping[str, Mapping[str, Values]]) -> Iterator[Picture]:
    """Yield histograms of scores, by set and name, and their correlations if there are several."""
    names = list(dict.fromkeys(name for scores in sets.values() for name in scores))
    values = [
        [np.asarray(scores[name]) if name in scores else np.zeros(0) for scores in sets.values()] for name in names
    ]
    yield ScoreHistograms(name=model, sets=list(sets), scores=names, values=values)
    if len(names) > 1:
        tables = [correlations([scores.get(name) for name in names]) for scores in sets.values()]
        yield ScoreCorrelations(name=model, sets=list(sets), scores=names, correlations=tables)


def fault_pictures(model: str, sets: Mapping[str, Mapping[str, NDArray[np.int64]]]) -> Iterator[Picture]:
    """Yield the curves of faults found, by set and order, of sets in which any order finds one."""
    curves = {label: lines for label, lines in sets.items() if any(line[-1] for line in lines.values())}
    if curves:
        yield FaultCurves(name=model, curves=curves)


def correlations(scored: Sequence[Values | None]) -> Values:
    """Return Spearman's rank correlation of scores (n,) of the same inputs, float64 (k, k), over inputs that both score.

    nan for a missing score, for fewer than three inputs, and for a score that is the same for all.

    Source: Spearman (1904), The proof and measurement of association between two things.
    """
    table = np.full((len(scored), len(scored)), np.nan)
    for i, one in enumerate(scored):
        for j, two in enumerate(scored[: i + 1]):
            if one is None or two is None:
                continue
            both = ~(np.isnan(one) | np.isnan(two))
            ranks = [_ranks(values[both]) for values in (one, two)]
            if both.sum() >= 3 and all(np.ptp(rank) > 0 for rank in ranks):
                table[i, j] = table[j, i] = np.corrcoef(ranks[0], ranks[1])[0, 1]
    return table


def _ranks(values: Values) -> Values:
    """Return the rank of each value, equal ones sharing the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]
