"""DeepHunter's mutation: at most one move, and a bound on all other changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.generators.regression.deephunter_mutation import DeepHunterMutation, MutationSubjects
from temper.generators.regression.pixel_mutations import Pixels

SIZE = 14 * 14


def seeds(n: int = 300) -> Pixels:
    """Return grey ramps with a bright square, so that moves show and small changes are possible everywhere."""
    x = np.tile(np.linspace(40, 200, 14).astype(np.uint8)[:, None], (n, 1, 14, 1))
    x[:, 4:9, 5:9] = 250
    return x


def chain(times: int, as_published: bool = False) -> list[tuple[MutationSubjects, Any]]:
    """Return the results of several successive mutations, and their operators."""
    metamorphosis, rng = DeepHunterMutation(as_published), np.random.default_rng(0)
    steps: list[tuple[MutationSubjects, Any]] = []
    subjects = MutationSubjects.seeds(seeds())
    for _ in range(times):
        subjects, operator = metamorphosis.mutate(subjects, rng)
        steps.append((subjects, operator))
    return steps


def apart(one: Pixels, two: Pixels) -> tuple[Any, Any]:
    difference = np.abs(one.astype(int) - two.astype(int)).reshape(len(one), -1)
    return (difference > 0).sum(axis=1), difference.max(axis=1)


def moves(operator: Any) -> Any:
    local = np.array([candidate.local for candidate in DeepHunterMutation().operators])
    return ~local[operator]


def test_an_image_is_moved_at_most_once() -> None:
    moved = sum(moves(operator).astype(int) for _, operator in chain(6))
    assert moved.max() == 1
    assert moved.min() == 0 or moved.mean() > 0.9
    last = chain(6)[-1][0]
    assert np.array_equal(last.moved, moved == 1)


def test_the_reference_is_the_seed_or_the_moved_image() -> None:
    before = MutationSubjects.seeds(seeds())
    for after, operator in chain(4):
        stays = ~moves(operator)
        assert np.array_equal(after.reference[stays], before.reference[stays])
        assert np.array_equal(after.reference[~stays], after.x[~stays])
        before = after
    assert before.moved.any()


def test_changes_before_and_after_the_move_add_up() -> None:
    before = MutationSubjects.seeds(seeds())
    for after, operator in chain(5):
        stays = ~moves(operator)
        changed, levels = apart(after.x, after.reference)
        few = changed + after.changed < 0.02 * SIZE
        little = np.maximum(levels, after.levels) < 51
        assert (few | little)[stays].all()
        until_then = apart(before.x, before.reference)
        assert np.array_equal(after.changed[~stays], until_then[0][~stays])
        assert np.array_equal(after.levels[~stays], until_then[1][~stays])
        assert np.array_equal(after.changed[stays], before.changed[stays])
        before = after
    assert before.changed.max() > 0, "some were changed before they were moved"


def test_published_moved_images_barely_change_and_changed_ones_become_seeds() -> None:
    (first, operator), (second, _) = chain(2, as_published=True)
    stays = ~moves(operator)
    assert np.array_equal(first.reference[stays], first.x[stays])
    assert not first.moved[stays].any()
    changed, levels = apart(first.reference[first.moved], seeds()[first.moved])
    assert np.array_equal(first.changed[first.moved], changed)
    assert np.array_equal(first.levels[first.moved], levels)

    def refused(one: MutationSubjects, two: MutationSubjects) -> float:
        return float((one.x == two.x).all(axis=(1, 2, 3))[one.moved].mean())

    (paper, _), (paper_next, _) = chain(2)
    assert refused(first, second) > 0.5 > refused(paper, paper_next)


@pytest.mark.parametrize("as_published", [True, False])
def test_rejected_mutations_leave_the_image_unchanged(as_published: bool) -> None:
    """Black and white images: contrast, brightness and blur change too much, so that only few mutations are left."""
    x = np.zeros((50, 14, 14, 1), np.uint8)
    x[:, ::2] = 255
    far = MutationSubjects(x, np.zeros_like(x), np.ones(50, np.bool_), np.full(50, SIZE), np.full(50, 255))
    made, _ = DeepHunterMutation(as_published).mutate(far, np.random.default_rng(0))
    for name, values in vars(made).items():
        assert np.array_equal(values, getattr(far, name))
