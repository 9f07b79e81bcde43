"""Top-k neuron coverage (TKNC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray

from temper.core.component import Range
from temper.evaluation.coverage.hashed_patterns import Keys, draw_keys
from temper.nn.adequacy.coverage import CellCoverage, Counts, Criterion
from temper.nn.adequacy.reference_data import Arrays
from temper.nn.inspection.activations import Activations


@dataclass(frozen=True, kw_only=True)
class TKNC(Criterion):
    """Top-k neuron coverage: the share of units that are among the k most active of their layer for some input.

    TKNC(T) = |union over x in T and layers l of top_k(x, l)| / |N|; of ties the first count. It soon reaches all units
    and then no longer discriminates between inputs. It also reports the number of patterns (TKNP): distinct sequences
    of the layers' most active units.

    Source: Ma et al. (2018), DeepGauge: Multi-Granularity Testing Criteria for Deep Learning Systems, sec. 3.
    """

    tag = "tknc"

    k: Annotated[int, "number of most active units of each layer", Range(ge=1)] = 3

    def coverage(self, profile: Arrays, like: Activations) -> CellCoverage:
        columns = like.columns(self.counted(like))
        firsts = np.cumsum([0, *(part.stop - part.start for part in columns)])

        def hits(seen: Activations) -> Counts:
            tops = [np.argsort(-seen.means[:, part], axis=1, kind="stable")[:, : self.k] for part in columns]
            return np.concatenate([top + first for top, first in zip(tops, firsts[:-1], strict=True)], axis=1)

        return _TopCoverage(int(firsts[-1]), hits)


class _TopCoverage(CellCoverage):
    """Coverage of cells that also counts the distinct sequences of cells that inputs hit."""

    _patterns: Keys = np.zeros(0, np.uint64)

    @property
    def remarks(self) -> tuple[str, ...]:
        return (*super().remarks, f"{len(self._patterns)} patterns")

    def count(self, hits: Counts) -> None:
        super().count(hits)
        keys = draw_keys(hits.shape[1], len(self._seen))
        found = keys[np.arange(hits.shape[1]), hits].sum(axis=1, dtype=np.uint64)
        self._patterns = np.union1d(self._patterns, found)

    def state(self) -> dict[str, NDArray[Any]]:
        return {**super().state(), "patterns": self._patterns}

    def restore(self, state: Arrays) -> Self:
        self._patterns = np.array(state["patterns"])
        return super().restore(state)
