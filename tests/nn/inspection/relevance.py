"""The relevance of units of a few images, as one array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images, Labels
from temper.core.classifier import Classifier
from temper.nn.inspection.lrp import unit_relevance_batches
from temper.nn.inspection.lrp_rules import RelevanceRule


def unit_relevance(
    classifier: Classifier, x: Images, rule: RelevanceRule | None = None, y: Labels | None = None
) -> NDArray[np.float64]:
    return np.concatenate([found.astype(np.float64) for _, found in unit_relevance_batches(classifier, x, rule, y)])
