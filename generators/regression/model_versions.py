"""The two versions of a model, run in one compiled call, and the classification of mutants by their outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.classifier import Classifier
from temper.core.errors import StageError
from temper.generators.regression.pixel_mutations import Pixels, Values
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.compiled_programs import Call, Tensor
from temper.nn.inspection.finite_check import check_outputs
from temper.system import backend

# One call for a round of DRFuzz's defaults: 256 seeds of 10 mutants.
_AT_ONCE = 2560

UNFAITHFUL, BOTH_FAIL, FAULT, FIXED, CANDIDATE, HALF_WEAKENED, WEAKENED = range(7)
"""The kinds of mutants: from ``CANDIDATE`` on they may be mutated again."""
# Thresholds of DRFuzz's released code.
_WEAKENED, _HALF = 0.30, 0.15
Classes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class VersionOutputs:
    """The class probabilities of both versions, float32 (n, classes), and the outputs of a third network, (n,)."""

    p1: Values
    p2: Values
    scores: Values

    def __len__(self) -> int:
        return len(self.p1)

    def take(self, rows: NDArray[Any]) -> VersionOutputs:
        """Return the answers for some images."""
        return VersionOutputs(self.p1[rows], self.p2[rows], self.scores[rows])


class Versions:
    """The reference (v1), the model under test (v2) and, where a fidelity gate has one, its network: one program.

    ``calls`` is the number of batches run.

    Raises:
        StageError: the versions differ in image shape or classes.
    """

    def __init__(self, reference: Classifier, model: Classifier, network: Any | None = None) -> None:
        for what, old, new in (
            ("images of shape", reference.input_shape, model.input_shape),
            ("classes:", reference.num_classes, model.num_classes),
        ):
            if old != new:
                raise StageError(
                    f"reference: expected a model for {what} {new} like the one under test, received {old}"
                )
        keras = backend.keras()
        inputs = keras.Input(model.input_shape)
        parts = [reference.model, model.model] + ([] if network is None else [network])
        # Models of other names keep their layers' variables, and a model may not contain two of one name.
        named = [keras.Model(part.inputs[0], part.outputs[0], name=f"version_{i}") for i, part in enumerate(parts)]
        self._model = keras.Model(inputs, [part(inputs) for part in named])
        self.calls = 0

    def predict(self, x: Pixels) -> VersionOutputs:
        """Return the answers for images (n, h, w, c)."""
        starts = range(0, max(len(x), 1), _AT_ONCE)
        self.calls += len(starts)
        return VersionOutputs(
            *map(np.concatenate, zip(*(self._batch(x[s : s + _AT_ONCE]) for s in starts), strict=True))
        )

    def _batch(self, x: Pixels) -> tuple[Values, Values, Values]:
        outputs = compiled_programs.run(self._model, _probabilities, [to_float(x)], batch_size=_AT_ONCE)
        # A third output, if any, is the gate's and no probability.
        for version, answers in zip(("old", "new"), outputs, strict=False):
            check_outputs(answers, f"the {version} version's probabilities")
        score = outputs[2][:, 0] if len(outputs) == 3 else np.zeros(len(x), np.float32)
        return outputs[0], outputs[1], score


def to_float(x: Pixels) -> Values:
    """Return pixels as float32 in [0, 1], exactly as loaded from the artefact."""
    return np.divide(x, np.float32(255), dtype=np.float32)


def _probabilities(call: Call, x: Tensor) -> tuple[Tensor, ...]:
    softmax = backend.keras().ops.softmax
    one, two, *score = call(x)
    return softmax(one), softmax(two), *score


def classify(answers: VersionOutputs, y: Classes, parent_drop: Values) -> NDArray[np.int8]:
    """Return the kind of each mutant, int8 (n,).

    With d the old version's probability of its own label minus the new one's for that label: weakened if both are right
    and d > 0.30, half so if d > 0.15. Fixed if only the new version is right, or if both are and d fell by more than
    0.15 below ``parent_drop`` and below (or, from below 0, away from) 0.

    Source: DRFuzz, its released code.
    """
    c1, c2 = answers.p1.argmax(axis=1), answers.p2.argmax(axis=1)
    d = probability_drop(answers, c1)
    old, new = c1 == y, c2 == y
    fell = (parent_drop - d > _HALF) & (((parent_drop > 0) & (d < 0)) | ((parent_drop < 0) & (d < parent_drop)))
    kinds = [
        (~old & ~new, BOTH_FAIL),
        (old & ~new, FAULT),
        (~old & new | fell, FIXED),
        (d > _WEAKENED, WEAKENED),
        (d > _HALF, HALF_WEAKENED),
    ]
    # The first condition that holds decides.
    return np.select([where for where, _ in kinds], [kind for _, kind in kinds], CANDIDATE).astype(np.int8)


def probability_drop(answers: VersionOutputs, labels: Classes) -> Values:
    """Return how far the new version's probability of labels (n,) is below the old one's."""
    rows = np.arange(len(labels))
    return np.asarray(answers.p1[rows, labels] - answers.p2[rows, labels])
