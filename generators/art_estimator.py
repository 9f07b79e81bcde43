"""A classifier as an ART estimator, which returns logits or class probabilities."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from temper.core.classifier import Classifier
from temper.system import backend


@lru_cache(maxsize=2)
def estimator(model: Any, probabilities: bool = False, summed: bool = True) -> Any:
    """Return ART's classifier for a Keras model that ends in logits; ``probabilities`` appends a softmax.

    Its cross-entropy is that of the model either way. ``summed`` over a batch, the gradient of an image does not depend
    on the batch size, as that of the mean does. Cached, because a new one is compiled again.
    """
    victim = Classifier(model)
    # Pixels are in [0, 1] in all of Temper.
    common = {"nb_classes": victim.num_classes, "input_shape": victim.input_shape, "clip_values": (0.0, 1.0)}
    if backend.name() == "tensorflow":
        return _in_tensorflow(model, probabilities, "sum" if summed else "sum_over_batch_size", common)
    return _in_torch(model, probabilities, "sum" if summed else "mean", common)


def _in_tensorflow(model: Any, probabilities: bool, reduction: str, common: dict[str, Any]) -> Any:
    import tensorflow as tf
    from art.estimators.classification import TensorFlowV2Classifier

    def call(x: Any, training: bool = False) -> Any:
        outputs = model(x, training=training)
        return tf.nn.softmax(outputs) if probabilities else outputs

    loss = backend.keras().losses.CategoricalCrossentropy(from_logits=not probabilities, reduction=reduction)
    # Without it each batch size would be traced again.
    compiled = tf.function(call, reduce_retracing=True, autograph=False)
    return TensorFlowV2Classifier(model=compiled, loss_object=loss, **common)


def _in_torch(model: Any, probabilities: bool, reduction: str, common: dict[str, Any]) -> Any:
    import torch
    from art.estimators.classification import PyTorchClassifier

    class LogLikelihood(torch.nn.NLLLoss):  # type: ignore[misc]
        """Cross-entropy of probabilities; torch only provides it for their logarithms."""

        def forward(self, given: Any, labels: Any) -> Any:
            # The smallest positive number keeps the logarithm of a probability of 0 finite.
            return super().forward(given.clamp_min(torch.finfo(given.dtype).tiny).log(), labels)

    loss = (LogLikelihood if probabilities else torch.nn.CrossEntropyLoss)(reduction=reduction)
    network = torch.nn.Sequential(model, torch.nn.Softmax(dim=-1)) if probabilities else model
    device = "gpu" if torch.cuda.is_available() else "cpu"
    return PyTorchClassifier(model=network, loss=loss, channels_first=False, device_type=device, **common)
