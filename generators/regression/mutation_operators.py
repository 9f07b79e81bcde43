"""The mutation operators of regression fuzzers: DRFuzz's fifteen and DeepHunter's, with random parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.generators.regression import blur, geometric_mutations, pixel_mutations
from temper.generators.regression.pixel_mutations import Numbers, Pixels

Mutation = Callable[[Pixels, np.random.Generator], Pixels]

_PATCH = 2
_BLURS: tuple[Callable[[Pixels], Pixels], ...] = (
    *(partial(blur.box, size=size) for size in (3, 4, 5)),
    *(partial(blur.gaussian, size=size) for size in (3, 5, 7)),
    *(partial(blur.median, size=size) for size in (3, 5)),
    partial(blur.bilateral, radius=3, deviation=50.0),
)
_KERNELS = ((1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1), (3, 3))
_ADDITIVE = (2.0, 1.0, 0.5, 0.1, 0.05, 0.01, 0.005, 0.001)
# Share of entries, as in DRFuzz's released code.
_SALT_AND_PEPPER = 0.004
Draw = Callable[[np.random.Generator, int], Numbers]


@dataclass(frozen=True)
class Operator:
    """A mutation that samples its parameters for each image.

    ``weight`` is its number of parameters, for sets in which all parameters of all operators are equally likely;
    ``local`` means that pixels stay in place.
    """

    name: str
    mutate: Mutation
    local: bool
    weight: int = 1


def mutate(operators: Sequence[Operator], which: NDArray[np.int64], x: Pixels, rng: np.random.Generator) -> Pixels:
    """Return each image mutated by the operator at its position in ``operators``, (n,)."""
    return _dispatched([operator.mutate for operator in operators], which, x, rng)


def drfuzz(wrap: bool = False) -> tuple[Operator, ...]:
    """Return DRFuzz's fifteen operators; with ``wrap`` noise overflows, as in its artefact."""

    def move(name: str, function: Callable[..., Pixels], *draws: Draw) -> Operator:
        return Operator(name, _drawn(function, *draws), local=False)

    def local(name: str, mutation: Mutation) -> Operator:
        return Operator(name, mutation, local=True)

    # Asymmetric, as in DRFuzz's released code.
    shift = partial(_integers, low=-3, high=2)
    return (
        move("translation", geometric_mutations.translated, shift, shift),
        move("scale", geometric_mutations.scaled, _uniform(0.7, 1.2)),
        move("shear", geometric_mutations.sheared, _uniform(-0.6, 0.6)),
        move("rotation", geometric_mutations.rotated, _uniform(-50, 50)),
        local("contrast", _drawn(pixel_mutations.contrast, _uniform(0.5, 1.5))),
        local("brightness", _drawn(pixel_mutations.brightness, _uniform(-20, 20))),
        local("blur", _any_of(_BLURS)),
        local("erode", _any_of([partial(pixel_mutations.eroded, height=h, width=w) for h, w in _KERNELS])),
        local("dilate", _any_of([partial(pixel_mutations.dilated, height=h, width=w) for h, w in _KERNELS])),
        local("reverse_patch", _patch(lambda patch: 255 - patch)),
        local("white_patch", _patch(lambda patch: np.uint8(255))),
        local("black_patch", _patch(lambda patch: np.uint8(0))),
        local("gauss_noise", _noise(pixel_mutations.additive_noise, _ADDITIVE, wrap)),
        local("multiplicative_noise", _noise(pixel_mutations.multiplicative_noise, _ADDITIVE[1:], wrap)),
        local("saltpepper_noise", _salt_and_pepper),
    )


def deephunter() -> tuple[Operator, ...]:
    """Return DeepHunter's operators, of 69 parameters in all."""
    shifts = np.array([(-5, -5), (-5, 0), (0, -5), (0, 0), (5, 0), (0, 5), (5, 5)])
    noises: list[Mutation] = [
        lambda x, rng: pixel_mutations.additive_noise(x, np.full(len(x), 0.1), rng),
        _salt_and_pepper,
        lambda x, rng: pixel_mutations.multiplicative_noise(x, np.full(len(x), 1.0), rng),
    ]

    def translation(x: Pixels, rng: np.random.Generator) -> Pixels:
        return geometric_mutations.translated(x, *shifts[rng.integers(len(shifts), size=len(x))].T)

    def listed(name: str, function: Callable[..., Pixels], parameters: Sequence[float], is_local: bool) -> Operator:
        return Operator(name, _drawn(function, _one_of(parameters)), is_local, len(parameters))

    turns = [sign * degrees for sign in (-1, 1) for degrees in range(3, 16, 3)]
    sizes = [percent / 100 for percent in range(75, 130, 5) if percent != 100]
    return (
        Operator("translation", translation, False, len(shifts)),
        listed("scale", geometric_mutations.scaled, sizes, False),
        listed("shear", geometric_mutations.sheared, [tenths / 10 for tenths in range(-5, 5)], False),
        listed("rotation", geometric_mutations.rotated, turns, False),
        listed("contrast", pixel_mutations.contrast, [tenths / 10 for tenths in range(12, 31, 2)], True),
        listed("brightness", pixel_mutations.brightness, range(10, 101, 10), True),
        Operator("blur", _any_of(_BLURS), True, len(_BLURS)),
        Operator("noise", _any_mutation(noises), True, len(noises)),
    )


def _integers(rng: np.random.Generator, n: int, low: int, high: int) -> Numbers:
    return rng.integers(low, high, size=n, endpoint=True)


def _uniform(low: float, high: float) -> Draw:
    return lambda rng, n: rng.uniform(low, high, n)


def _one_of(values: Sequence[float]) -> Draw:
    array = np.array(values, float)
    return lambda rng, n: array[rng.integers(len(array), size=n)]


def _drawn(function: Callable[..., Pixels], *draws: Draw) -> Mutation:
    return lambda x, rng: function(x, *(draw(rng, len(x)) for draw in draws))


def _noise(function: Callable[..., Pixels], variances: Sequence[float], wrap: bool) -> Mutation:
    draw = _one_of(variances)
    return lambda x, rng: function(x, draw(rng, len(x)), rng, wrap)


def _salt_and_pepper(x: Pixels, rng: np.random.Generator) -> Pixels:
    return pixel_mutations.salt_and_pepper(x, _SALT_AND_PEPPER, rng)


def _patch(change: Callable[[Pixels], Any]) -> Mutation:
    """Return a mutation of a patch anywhere except in the last row and column, as in DRFuzz."""

    def mutation(x: Pixels, rng: np.random.Generator) -> Pixels:
        top, left = (rng.integers(max(1, side - _PATCH), size=len(x)) for side in x.shape[1:3])
        return pixel_mutations.patched(x, top, left, change)

    return mutation


def _any_of(functions: Sequence[Callable[[Pixels], Pixels]]) -> Mutation:
    return _any_mutation([_without_rng(function) for function in functions])


def _without_rng(function: Callable[[Pixels], Pixels]) -> Mutation:
    return lambda x, rng: function(x)


def _any_mutation(mutations: Sequence[Mutation]) -> Mutation:
    """Return a mutation that applies one of several, sampled for each image."""
    return lambda x, rng: _dispatched(mutations, rng.integers(len(mutations), size=len(x)), x, rng)


def _dispatched(mutations: Sequence[Mutation], which: NDArray[np.int64], x: Pixels, rng: np.random.Generator) -> Pixels:
    made = np.empty_like(x)
    for position in np.unique(which):
        rows = np.flatnonzero(which == position)
        made[rows] = mutations[position](x[rows], rng)
    return made
