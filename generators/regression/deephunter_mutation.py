"""DeepHunter's mutation: an image is moved at most once, and its pixels change little relative to the moved one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from temper.generators.regression import mutation_operators
from temper.generators.regression.fidelity_gates import ALPHA, BETA, difference_counts, within_bounds
from temper.generators.regression.mutation_queue import Rows
from temper.generators.regression.pixel_mutations import Pixels

_TRIES = 49


@dataclass(frozen=True, eq=False)
class MutationSubjects:
    """Images with the bounds on their changes, row by row.

    ``reference`` is the seed, or the image just after its move if ``moved``; ``changed`` and ``levels`` are the number
    of entries that had changed before the move, and their largest change.
    """

    x: Pixels
    reference: Pixels
    moved: NDArray[np.bool_]
    changed: Rows
    levels: Rows

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def seeds(cls, x: Pixels) -> MutationSubjects:
        """Return unchanged seeds."""
        nothing = np.zeros(len(x), np.int64)
        return cls(x, x, np.zeros(len(x), np.bool_), nothing, nothing)

    def copy(self) -> MutationSubjects:
        """Return a copy with its own arrays."""
        return MutationSubjects(*(array.copy() for array in vars(self).values()))

    def take(self, rows: NDArray[np.int64]) -> MutationSubjects:
        """Return some rows."""
        return MutationSubjects(*(array[rows] for array in vars(self).values()))


class DeepHunterMutation:
    """Mutates by one of DeepHunter's operators, all their 69 parameters equally likely.

    An operator that moves pixels is only applied to an image that was not moved yet, and always accepted. Any other is
    drawn again, up to 49 times in all, until fewer than 2 % of the entries have changed, before the move and since, or
    none by 51 of 255 levels or more.

    ``as_published`` is the variant of DRFuzz's artefact: the changes before the move are taken to be those of the move
    itself, so that hardly anything is accepted after one; and an image whose pixels were changed becomes a seed again,
    which may be moved once more.
    """

    def __init__(self, as_published: bool = False) -> None:
        self.operators = mutation_operators.deephunter()
        self._as_published = as_published
        # By number of parameters, so that all parameters are equally likely.
        weights = np.array([operator.weight for operator in self.operators], float)
        self._local = np.array([operator.local for operator in self.operators])
        self._shares = weights / weights.sum(), weights * self._local / weights[self._local].sum()

    def refers_to_itself(self, operator: Rows) -> NDArray[np.bool_]:
        """Return which operators' mutants replace their parent's reference in later comparisons."""
        return np.asarray(~self._local[operator] | self._as_published)

    def mutate(self, subjects: MutationSubjects, rng: np.random.Generator) -> tuple[MutationSubjects, Rows]:
        """Return each image mutated once, and the operator; the image itself if no mutation was accepted."""
        n = len(subjects)
        made = subjects.copy()
        operator = np.zeros(n, np.int64)
        left = np.arange(n)
        for _ in range(_TRIES):
            tried = subjects.take(left)
            operator[left] = self._drawn(tried.moved, rng)
            found, accepted = self._once(tried, operator[left], rng)
            for name, values in vars(found).items():
                getattr(made, name)[left[accepted]] = values[accepted]
            left = left[~accepted]
            if not len(left):
                break
        return made, operator

    def _drawn(self, moved: NDArray[np.bool_], rng: np.random.Generator) -> Rows:
        drawn = np.zeros(len(moved), np.int64)
        for which, shares in zip((~moved, moved), self._shares, strict=True):
            drawn[which] = rng.choice(len(self.operators), size=int(which.sum()), p=shares)
        return drawn

    def _once(
        self, subjects: MutationSubjects, operator: Rows, rng: np.random.Generator
    ) -> tuple[MutationSubjects, NDArray[np.bool_]]:
        """Return images mutated by operators, with which of them are accepted."""
        moves = ~self._local[operator]
        made = subjects.copy()
        made.x[:] = mutation_operators.mutate(self.operators, operator, subjects.x, rng)
        changed, levels = difference_counts(made.x, made.reference)
        near = within_bounds(
            changed + subjects.changed, np.maximum(levels, subjects.levels), made.x[0].size, ALPHA, BETA
        )
        before = made.x if self._as_published else subjects.x
        made.changed[moves], made.levels[moves] = difference_counts(before[moves], subjects.reference[moves])
        made.moved[moves] = True
        if self._as_published:
            made.moved[~moves], made.changed[~moves], made.levels[~moves] = False, 0, 0
        refers_to_itself = self.refers_to_itself(operator)
        made.reference[refers_to_itself] = made.x[refers_to_itself]
        return made, moves | near
