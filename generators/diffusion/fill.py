"""Hole filling without a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images
from temper.core.augmenter import AugmenterContext
from temper.generators.diffusion.painter import Holes, Painted, Painter

NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


@dataclass(frozen=True, kw_only=True)
class Fill(Painter):
    """Smooth filling: every pixel of a hole is the mean of its neighbours.

    It knows no classes and paints nothing new, so use it in place of a painter for quick trials only.

    Source: Laplace's equation with the surroundings as boundary values, as in Bertalmio, Sapiro, Caselles and Ballester
    (2000), Image Inpainting, without its propagation of edges.
    """

    tag = "fill"
    knows_classes = False

    def paint(self, holes: Holes, context: AugmenterContext) -> Painted:
        return Painted(np.stack([harmonic(x, hole) for x, hole in zip(holes.seeds.x, holes.masks, strict=True)]))


def harmonic(x: Images, hole: NDArray[np.bool_]) -> Images:
    """Return an image (h, w, c) in which each pixel of ``hole`` (h, w) is the mean of its neighbours.

    A hole without surroundings gets the image's mean colour.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import spsolve

    # Without a known pixel the system of equations is singular.
    if hole.all():
        return np.broadcast_to(x.mean(axis=(0, 1)), x.shape).astype(np.float32)
    unknown = np.cumsum(hole).reshape(hole.shape) - 1
    where = np.argwhere(hole)
    n = len(where)
    known, count = np.zeros((n, x.shape[2])), np.zeros(n)
    rows, columns = [np.arange(n)], [np.arange(n)]
    for move in NEIGHBOURS:
        place = where + move
        inside = np.flatnonzero(((place >= 0) & (place < hole.shape)).all(axis=1))
        place = place[inside]
        count[inside] += 1
        inner = hole[tuple(place.T)]
        rows.append(inside[inner])
        columns.append(unknown[tuple(place[inner].T)])
        known[inside[~inner]] += x[tuple(place[~inner].T)]
    values = np.concatenate([count, *(np.full(len(part), -1.0) for part in rows[1:])])
    # One equation per pixel of the hole: neighbours times the pixel minus unknown neighbours = known ones.
    system = coo_array((values, (np.concatenate(rows), np.concatenate(columns))), shape=(n, n)).tocsc()
    filled = np.array(x)
    filled[hole] = spsolve(system, known).reshape(n, -1).clip(0, 1)
    return filled
