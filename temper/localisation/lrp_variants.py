"""Rules of layer-wise relevance propagation: how a layer with weights propagates relevance to its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from temper.core.component import Range
from temper.core.errors import StageError
from temper.nn.inspection.compiled_programs import Tensor
from temper.nn.inspection.lrp_rules import RelevanceRule, ratio, with_derivative
from temper.system import backend


@dataclass(frozen=True, kw_only=True)
class Epsilon(RelevanceRule):
    """LRP-epsilon: inputs share relevance in proportion to their contributions, and small sums are damped.

    R_i = sum_j x_i w_ij R_j / (z_j + epsilon * sign(z_j)), sign(0) = 1. z_j includes the bias, whose share is lost.

    Source: Bach, Binder, Montavon, Klauschen, Müller and Samek (2015), On Pixel-Wise Explanations for Non-Linear
    Classifier Decisions by Layer-Wise Relevance Propagation, eq. 58.
    """

    tag = "epsilon"

    epsilon: Annotated[
        float, "added to the absolute value of each sum, in units of the layer's values", Range(gt=0)
    ] = 0.01

    def propagate(self, layer: Any, x: Tensor, z: Tensor) -> Tensor:
        ops = backend.keras().ops
        return with_derivative(z, (z, z / (z + self.epsilon * ops.where(z >= 0, 1.0, -1.0))))


@dataclass(frozen=True, kw_only=True)
class Zero(RelevanceRule):
    """LRP-0: inputs share relevance in proportion to their contributions.

    R_i = sum_j x_i w_ij R_j / z_j. In a network of ReLUs this is the gradient times the input.

    Source: Bach et al. (2015), On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance
    Propagation, eq. 56.
    """

    tag = "zero"

    def propagate(self, layer: Any, x: Tensor, z: Tensor) -> Tensor:
        # The gradient of a linear layer already shares relevance this way.
        return z


@dataclass(frozen=True, kw_only=True)
class AlphaBeta(RelevanceRule):
    """LRP-alpha-beta: positive and negative contributions share relevance separately.

    R_i = sum_j (alpha * z+_ij / z+_j - beta * z-_ij / z-_j) R_j, where z_ij = x_i w_ij and z+_j and z-_j are the sums
    of the positive and negative contributions, including the bias. A unit that lacks one of the two propagates more or
    less than it received.

    Source: Bach et al. (2015), On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance
    Propagation, eq. 60.
    """

    tag = "alpha_beta"

    alpha: Annotated[float, "weight of the positive contributions, 1 more than `beta`", Range(ge=1)] = 2.0
    beta: Annotated[float, "weight of the negative contributions", Range(ge=0)] = 1.0

    def check(self) -> Iterator[tuple[str, str]]:
        if abs(self.alpha - self.beta - 1) > 1e-9:
            yield (
                "alpha",
                f"expected 1 + beta = {1 + self.beta:g}, or relevance is created or lost; received {self.alpha:g}",
            )

    def propagate(self, layer: Any, x: Tensor, z: Tensor) -> Tensor:
        above, below = _signed_sums(layer, x, with_bias=True)
        return with_derivative(z, (above, self.alpha * ratio(z, above)), (below, -self.beta * ratio(z, below)))


@dataclass(frozen=True, kw_only=True)
class ZPlus(RelevanceRule):
    """LRP-z+: only positive contributions share relevance, without the bias.

    R_i = sum_j z+_ij R_j / sum_i z+_ij, where z_ij = x_i w_ij.

    Source: Montavon, Lapuschkin, Binder, Samek and Müller (2017), Explaining Nonlinear Classification Decisions with
    Deep Taylor Decomposition, section 4.1.
    """

    tag = "z_plus"

    def propagate(self, layer: Any, x: Tensor, z: Tensor) -> Tensor:
        above, _ = _signed_sums(layer, x, with_bias=False)
        return with_derivative(z, (above, ratio(z, above)))


def _signed_sums(layer: Any, x: Tensor, with_bias: bool) -> tuple[Tensor, Tensor]:
    """Return the sums of a layer's positive and of its negative contributions, each shaped like its output."""
    keras = backend.keras()
    layers, ops = keras.layers, keras.ops
    if not isinstance(layer, layers.Dense | layers.Conv1D | layers.Conv2D | layers.Conv2DTranspose):
        raise StageError(
            f"a layer of type {type(layer).__name__}: its contributions cannot be split by sign; expected dense "
            "and convolutional layers, or another rule (epsilon, zero)"
        )
    kernel, *bias = layer.get_weights()

    def part(of: Tensor, weights: Any) -> Tensor:
        # Without the name, which Keras would not allow twice in one model.
        config = {key: value for key, value in layer.get_config().items() if key != "name"}
        twin = type(layer).from_config({**config, "use_bias": False})
        outputs = twin(of)
        twin.set_weights([weights])
        return outputs

    positive, negative = kernel.clip(0, None), kernel.clip(None, 0)
    # z_ij = x_i w_ij is positive where both factors have the same sign.
    up = ops.relu(x)
    down = x - up
    above = part(up, positive) + part(down, negative)
    below = part(up, negative) + part(down, positive)
    if bias and with_bias:
        above, below = above + bias[0].clip(0, None), below + bias[0].clip(None, 0)
    return above, below
