"""The worst case of a model over sets of images: one for each threat model and each source of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.display_names import label
from temper.core.run import DataOrigin
from temper.core.threat_model import ThreatModel

WORST_CASE = "worst_case"
Set = tuple[DataOrigin, Examples]


@dataclass(frozen=True)
class _Clean:
    """Unchanged images of the data set, which every threat model contains."""

    def __str__(self) -> str:
        return "clean"


@dataclass(frozen=True)
class _Unbounded:
    """Images changed without a bound."""

    def __str__(self) -> str:
        return "unbounded"


@dataclass(frozen=True)
class _Ball:
    """Images inside the ball of a threat model."""

    threat: ThreatModel

    def __str__(self) -> str:
        return f"L{self.threat.norm} {label(float(self.threat.eps))}"


_Bound = _Clean | _Unbounded | _Ball


def worst_cases(sets: Sequence[Set]) -> Mapping[str, list[Examples]]:
    """Return the sets of each worst case, by its label.

    Sets belong together if their images come from one source and lie in balls of one norm and radius, or in none; clean
    images belong to all worst cases of their source. The label is ``worst_case``, followed by the distinguishing parts
    in brackets if there are several: ``worst_case (Linf 0.1)``.

    Source: Carlini et al. (2019), On Evaluating Adversarial Robustness, sections 2.2 and 4.2: a worst case is one of a threat model.
    """
    groups: dict[tuple[str, _Bound], list[Examples]] = {}
    sources = list(dict.fromkeys(origin.source for origin, _ in sets))
    for source in sources:
        bounded = [(_bound(origin, examples), examples) for origin, examples in sets if origin.source == source]
        threats = [bound for bound in dict.fromkeys(bound for bound, _ in bounded) if bound != _Clean()]
        # Several clean sets of one source have a worst case; a single one would equal it.
        for threat in threats or ([_Clean()] if len(bounded) > 1 else []):
            groups[source, threat] = [examples for bound, examples in bounded if bound in (_Clean(), threat)]
    several_bounds = len({bound for _, bound in groups}) > 1
    return {
        _label([source] * (len(sources) > 1) + [str(bound)] * several_bounds): members
        for (source, bound), members in groups.items()
    }


def right_in_all(model: Classifier, sets: Sequence[Examples]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the indices of the original images (n,), and whether the model is right on all variants, bool (n,)."""
    originals = np.unique(np.concatenate([examples.index for examples in sets]))
    right = np.ones(len(originals), bool)
    for examples in sets:
        wrong = model.predict(examples.x) != examples.y
        right[np.searchsorted(originals, examples.index[wrong])] = False
    return originals, right


def _bound(origin: DataOrigin, examples: Examples) -> _Bound:
    if "eps" in examples.info:
        return _Ball(ThreatModel(examples.info["norm"], examples.info["eps"]))
    return _Unbounded() if origin.perturbed else _Clean()


def _label(parts: Sequence[str]) -> str:
    return f"{WORST_CASE} ({', '.join(parts)})" if parts else WORST_CASE
