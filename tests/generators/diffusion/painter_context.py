"""Seeds, masks and a context for the tests of inpainting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from temper.core.artefacts import Examples, Masks
from temper.core.augmenter import AugmenterContext, Mask, Seeds
from temper.core.component import Ref
from temper.core.data_info import DataInfo
from temper.core.run import Run
from temper.core.run import prepared as prepared_by
from temper.core.stage import Preparation

DATA: Any = Ref("data", part="train")
MODEL: Any = Ref("model")


@dataclass(frozen=True, kw_only=True)
class Square(Mask):
    """The lower right quarter of every image, but none of those whose index is in ``blind``."""

    blind: Annotated[tuple[int, ...], "images in which nothing is found"] = ()

    def masks(self, seeds: Seeds, context: AugmenterContext) -> Masks:
        _, height, width, _ = seeds.x.shape
        masks = np.zeros((len(seeds), height, width), np.bool_)
        masks[:, height // 2 :, width // 2 :] = True
        masks[np.isin(seeds.index, self.blind)] = False
        return masks


def examples(n: int = 60, shape: tuple[int, int, int] = (8, 8, 1), classes: int = 3) -> Examples:
    """Return images that are as bright as their class, with a little noise."""
    rng = np.random.default_rng(1)
    y = np.arange(n) % classes
    x = (y / (classes - 1))[:, None, None, None] * 0.8 + 0.2 * rng.random((n, *shape))
    return Examples(x=x.astype(np.float32), y=y, index=np.arange(n))


def seeds(data: Examples, rows: Any = slice(None), variant: int = 0) -> Seeds:
    x, y, index = data.x[rows], data.y[rows], data.index[rows]
    return Seeds(x, y, index, np.full(len(x), variant), np.zeros(len(x), np.int64), (7,))


def run(artefacts: Mapping[Ref[Any], Any], progress: Any = lambda done, total, unit: None) -> Run:
    return Run("it", 3, None, artefacts.__getitem__, lambda ref: {}, progress)


def context(data: Examples, preparations: Mapping[str, Preparation] | None = None) -> AugmenterContext:
    """Return a context that computes the painters' preparations, equal ones once."""
    tasks = dict(preparations or {})
    artefacts = {work: work.produce(run({DATA: data})) for work in tasks.values()}
    made = {prepared_by(name): artefacts[work] for name, work in tasks.items()}
    names = tuple("abcdefghij"[: int(data.y.max()) + 1])
    model: Any = None  # no painter looks at the model under test
    return AugmenterContext(run(made), model, data, DataInfo(data.shape, names))
