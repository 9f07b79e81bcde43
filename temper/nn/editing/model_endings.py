"""Classifiers made of Keras models that end in logits, in softmax or in other probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temper.core.artefacts import Images
from temper.core.classifier import Classifier
from temper.nn.editing.binary_output import ends_in_sigmoid, has_one_output, with_two_logits
from temper.nn.editing.logits import are_probabilities, are_shares, logarithm_of, rescores, to_logits
from temper.nn.inspection.finite_check import check_weights

_RESCORED = (
    "the model ends in probabilities that are not one softmax. Their logarithms replace the logits: "
    "predictions stay the same, and gradients do not vanish where a probability is nearly 1."
)
_ROUNDED = (
    "the outputs of the model are probabilities of an unknown origin. Their logarithms replace the "
    "logits: predictions stay the same, but gradients vanish where float32 rounds a probability to 0 or 1, so that gradient-based "
    "attacks may look weaker than they are. Save the model with logits as output if you can."
)
_BOUNDED = (
    "all outputs of the model are between 0 and 1, but their sum differs between images. They are used as "
    "logits: predictions stay the same, but if they are probabilities or lengths, gradient-based attacks may look weaker than "
    "they are. Save the model with logits as output if you can."
)
_ONE_LOGIT = "the model has one output without a sigmoid. It is taken for the log-odds of the second class: above 0, the model predicts that class."


def classifier_of(
    model: Any, behind_conventions: Callable[[Any], Any], images: Images, remark: Callable[[str], None]
) -> Classifier:
    """Return a classifier of the same predictions as a model, whatever it ends in; one output becomes two logits.

    ``behind_conventions`` puts the layers in front of a model that its input needs; ``images`` (n, height, width, channels) are
    those whose outputs show whether they are probabilities. ``remark`` is given what a reader must know.

    Raises:
        StageError: the model has no output of a classifier, or its weights or answers are not finite.
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
            classifier = Classifier(logarithm_of(classifier.model))
        elif are_shares(outputs):
            remark(_BOUNDED)
    if rescores(model):
        remark(_RESCORED)
    return classifier
