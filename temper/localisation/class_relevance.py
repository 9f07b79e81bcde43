"""Averages relevance over the images of each class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

import numpy as np

from temper.artefacts.rankings import Scores
from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Component, Ref
from temper.core.run import Run
from temper.localisation.lrp_variants import Epsilon
from temper.nn.inspection.lrp import Batches
from temper.nn.inspection.lrp_rules import RelevanceRule


@dataclass(frozen=True, kw_only=True)
class ClassRelevance(Component):
    """Averages relevance over the images of each class. Members implement ``produce`` with ``means``."""

    model: Annotated[Ref[Classifier], "the model whose decisions are explained"]
    data: Annotated[
        Ref[Examples] | None, "images to average over; default: the training part of the model's data set"
    ] = None
    rule: Annotated[RelevanceRule, "how layers with weights propagate relevance"] = Epsilon()  # noqa: RUF009 - frozen
    start: Annotated[
        Literal["predicted", "true"],
        "logit that relevance starts from: that of the predicted class, or of the true one",
    ] = "predicted"

    @property
    def stochastic(self) -> bool:
        return False

    @final
    def means(
        self, run: Run, relevance: Callable[..., Batches], shape: tuple[int, ...]
    ) -> tuple[Scores, dict[str, Any]]:
        """Return the mean relevance, float64 (classes, *shape), nan where a class has no image, and its metadata.

        ``relevance`` is ``temper.nn.inspection.lrp.pixel_relevance`` or ``unit_batches``, which yield relevance of
        ``shape`` per image.
        """
        assert self.data is not None  # the graph fills in the model's data set
        images, model = run[self.data], run[self.model]
        sums = np.zeros((model.num_classes, *shape))
        for rows, found in relevance(model, images.x, self.rule, images.y if self.start == "true" else None):
            np.add.at(sums, images.y[rows], found)
            run.progress(rows.stop, len(images), "images")
        run.images += len(images)
        counts = np.bincount(images.y, minlength=model.num_classes)
        # nan and not 0, which would rank the pixels of a class without images.
        sums[counts == 0] = np.nan
        means: Scores = sums / np.maximum(counts, 1).reshape(-1, *[1] * len(shape))
        return means, {"rule": self.rule.tag, "start": self.start, "images": counts.tolist()}
