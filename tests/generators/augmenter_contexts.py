"""Fixtures for tests of masks and augmenters: seeds, and a context without an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples
from temper.core.augmenter import AugmenterContext, Seeds
from temper.core.classifier import Classifier
from temper.core.component import Part, Ref
from temper.core.data_info import DataInfo
from temper.core.run import Run


def seeds(x: NDArray[Any], y: Any = None, masks: Any = None, entropy: int = 1, **columns: Any) -> Seeds:
    """Seeds of images (n, h, w) or (n, h, w, c), numbered from 0."""
    x = np.asarray(x, np.float32)
    x = x if x.ndim == 4 else x[..., None]
    n = len(x)
    numbers = {"index": np.arange(n), "variant": np.zeros(n, int), "depth": np.zeros(n, int)} | columns
    y = np.zeros(n, np.int64) if y is None else np.asarray(y)
    return Seeds(x, y, masks=masks, entropy=(entropy,), **{k: np.asarray(v, np.int64) for k, v in numbers.items()})


def context(
    train: Examples | None = None,
    model: Classifier | None = None,
    part: Part | None = "test",
    prepared: Mapping[str, Any] | None = None,
) -> AugmenterContext:
    """A context with the given preparations only."""

    def load(ref: Ref[Any]) -> Any:
        return (prepared or {})[ref.prepared]

    run = Run("fuzz", 1, part, load, lambda _: {}, lambda *_: None)
    info = DataInfo(train.shape if train else (8, 8, 1), ("a", "b"))
    return AugmenterContext(run, cast(Classifier, model), cast(Examples, train), info)
