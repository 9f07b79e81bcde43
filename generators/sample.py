"""A random sample of a data set, so that attacks may each have separate images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from temper.core.artefacts import Examples
from temper.core.component import Range, Ref
from temper.core.families import Generator
from temper.core.run import Run


@dataclass(frozen=True, kw_only=True)
class Sample(Generator):
    """Images sampled without replacement from each part of a data set, unchanged.

    Samples of the same data, ``folds`` and ``size`` that differ in ``fold`` are disjoint: all are slices of one
    permutation.

    Source: Durán, Martínez-Fernández, Felderer and Franch (2023), Guiding the retraining of convolutional neural
    networks against adversarial inputs, who attack three random thirds of a sample with an attack each.
    """

    tag = "sample"
    perturbs = False
    framework = False

    data: Annotated[Ref[Examples], "the data set to sample from"]
    size: Annotated[int, "images to sample from each part, or as many as leave folds disjoint", Range(ge=1)]
    folds: Annotated[int, "number of disjoint samples", Range(ge=1)] = 1
    fold: Annotated[int, "number of this sample, from 1", Range(ge=1)] = 1

    def check(self) -> Iterator[tuple[str, str]]:
        if self.fold > self.folds:
            yield "fold", f"there are {self.folds} folds; expected 1 to {self.folds}, or raise `folds`"

    def stream(self, stage: str) -> str:
        return self.tag

    def produce(self, run: Run) -> Examples:
        data = run[self.data]
        # Small parts are divided evenly, so that folds stay disjoint.
        size = min(self.size, len(data) // self.folds)
        # One permutation for all folds, so that they are disjoint.
        drawn = run.rng(run.part or "").permutation(len(data))[(self.fold - 1) * size : self.fold * size]
        return data.take(np.sort(drawn))
