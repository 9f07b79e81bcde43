"""Classifiers made of Keras models that end in logits, in softmax or in other probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temper.core.artefacts import Images
from temper.core.classifier import Classifier
from temper.nn.editing.binary_output import ends_in_sigmoid, has_one_output, with_two_logits
from temper.nn.editing.logits import (
    are_probabilities,
    are_within_unit_interval,
    needs_log_probabilities,
    to_logits,
    with_log_probabilities,
)
from temper.nn.inspection.finite_check import check_weights

_RESCORED = (
    "the model ends in probabilities that are not one softmax. Their logarithms replace the logits: "
    "predictions stay the same, and gradients do not vanish where a probability is nearly 1."
)
_ROUNDED = (
    "the outputs of the model are probabilities of an unknown origin. Their logarithms replace the "
    "logits: predictions stay the same, but gradients vanish where float32 rounds a probability to 0 or 1, so that "
    "gradient-based "
    "attacks may look weaker than they are. Save the model with logits as output if you can."
)
_BOUNDED = (
    "all outputs of the model are between 0 and 1, but their sum differs between images. They are used as "
    "logits: predictions stay the same, but if they are probabilities or lengths, gradient-based attacks may look "
    "weaker than "
    "they are. Save the model with logits as output if you can."
)
_ONE_LOGIT = "the model has one output without a sigmoid. It is taken for the log-odds of the second class: above 0, the model predicts that class."


def classifier_of(
    model: Any, behind_conventions: Callable[[Any], Any], images: Images, remark: Callable[[str], None]
) -> Classifier:
    """Return a classifier with the predictions of a model, whatever it ends in; one output becomes two logits.

    ``behind_conventions`` adds the layers that convert an image into the model's input; the outputs for ``images`` (n,
    height, width, channels) show whether they are probabilities. ``remark`` receives notes for the report.

    Raises:
        StageError: the model's output is not a classifier's, or its weights or outputs are not finite.
    """
    check_weights(model)
    if has_one_output(model):
        if not ends_in_sigmoid(model):
            remark(_ONE_LOGIT)
        model = with_two_logits(model)
    logits = to_logits(model)
    classifier = Classifier(behind_conventions(logits))
    if logits is model:  # the inputs of a removed softmax are logits, whatever their values
        outputs = classifier.logits(images)
        if are_probabilities(outputs):
            remark(_ROUNDED)
            classifier = Classifier(with_log_probabilities(classifier.model))
        elif are_within_unit_interval(outputs):
            remark(_BOUNDED)
    if needs_log_probabilities(model):
        remark(_RESCORED)
    return classifier
