"""Sign-sign cover (SSC)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from temper.core.errors import StageError
from temper.evaluation.coverage.sign_pairs import NEVER, SEEN, Signs
from temper.nn.adequacy.coverage import Counts, Coverage, Criterion
from temper.nn.adequacy.reference_data import Arrays
from temper.nn.inspection.activations import Activations


@dataclass(frozen=True, kw_only=True)
class SSC(Criterion):
    """Sign-sign cover: the share of pairs of units in adjacent layers where one is shown to decide the other's sign.

    The pair (i, j), i in a layer and j in the next, is covered by two inputs for which the signs of i and of j differ
    while those of all other units of i's layer are equal. Layers are the hidden ones and the logits; the sign is that
    of the value after the activation, positive only above 0.

    Source: Sun, Huang, Kroening, Sharp, Hill and Ashmore (2019), Structural Test Coverage Criteria for Deep Neural
    Networks; the signs of feature maps as by DeepImportance.
    """

    tag = "ssc"

    sign: Annotated[
        Literal["any", "mean"],
        "a feature map is positive if any position is, or if its mean is; any is nearly always positive",
    ] = "any"

    def counted(self, seen: Activations) -> tuple[str, ...]:
        return self.layers or tuple(layer.name for layer in seen.layers[:-1])

    def coverage(self, profile: Arrays, like: Activations) -> Coverage:
        columns = like.columns(self.counted(like))
        if len(columns) < 2:
            raise StageError(f"ssc: expected at least two layers, received {', '.join(self.counted(like))}")
        return _SignCoverage(self, columns)

    def signs(self, seen: Activations) -> NDArray[np.bool_]:
        """Return which units are positive, bool (n, units of all layers)."""
        return np.asarray(seen.positive) if self.sign == "any" else np.asarray(seen.means) > 0


class _SignCoverage(Coverage):
    """Pairs of adjacent layers, each with its signs so far."""

    def __init__(self, criterion: SSC, columns: list[slice]) -> None:
        self._criterion = criterion
        self._pairs = [Signs(upper, lower) for upper, lower in itertools.pairwise(columns)]
        self._unknown = 0
        self.total = sum(pair.covered.size for pair in self._pairs)

    @property
    def covered(self) -> int:
        return sum(int(pair.covered.sum()) for pair in self._pairs)

    @property
    def remarks(self) -> tuple[str, ...]:
        unknown = f"{self._unknown} inputs without finite activations, which cover nothing"
        return (unknown,) if self._unknown else ()

    def gain(self, seen: Activations) -> Counts:
        finite, gains = seen.finite, np.zeros(len(seen), np.int64)
        signs = self._criterion.signs(seen)[finite]
        gains[finite] = sum((pair.gain(signs) for pair in self._pairs), np.zeros(len(signs), np.int64))
        return gains

    def sequential_gain(self, seen: Activations) -> Counts:
        finite, gains = seen.finite, np.zeros(len(seen), np.int64)
        signs = self._criterion.signs(seen)[finite]
        for pair in self._pairs:
            first = pair.times(signs)
            gains[finite] += np.bincount(first[(first != SEEN) & (first != NEVER)], minlength=len(signs))
        return gains

    def update(self, seen: Activations) -> None:
        finite = seen.finite
        self._unknown += int((~finite).sum())
        signs = self._criterion.signs(seen)[finite]
        for pair in self._pairs:
            pair.update(signs)

    def state(self) -> dict[str, NDArray[Any]]:
        pairs = {f"{name}_{i}": array for i, pair in enumerate(self._pairs) for name, array in pair.state().items()}
        return {**pairs, "unknown": np.array(self._unknown)}

    def restore(self, state: Arrays) -> Self:
        self._unknown = int(state["unknown"])
        for i, pair in enumerate(self._pairs):
            pair.restore(_of_pair(state, i))
        return self


def _of_pair(state: Arrays, i: int) -> Arrays:
    return {name.removesuffix(f"_{i}"): array for name, array in state.items() if name.endswith(f"_{i}")}
