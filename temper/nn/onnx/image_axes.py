"""Where the axes of images are in an ONNX model's input: what reads it tells channels first from channels last."""

from __future__ import annotations

from temper.core.errors import StageError
from temper.nn.onnx.onnx_graph import OnnxGraph
from temper.nn.onnx.tensor_layout import Axes

_CHANNELS = (1, 3, 4)
_CHANNELS_SECOND = ("AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "GlobalAveragePool", "GlobalMaxPool",
                    "GroupNormalization", "InstanceNormalization", "MaxPool", "Resize")  # fmt: skip
_ELEMENTWISE = ("Add", "Cast", "Clip", "Div", "Identity", "Mul", "Pad", "Sub")
_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def image_axes(graph: OnnxGraph) -> tuple[tuple[int, ...], Axes]:
    """Return the shape of the Keras model's input without the batch, and the ONNX axes of its Keras tensor.

    Images become (height, width, channels); inputs without an axis of channels stay as they are.

    Raises:
        StageError: a side is not stated, or the place of the channels is unknown.
    """
    name, sides = graph.input_name, graph.input_shape[1:]
    known = tuple(side for side in sides if side is not None)
    if len(sides) not in (1, 2, 3) or len(known) < len(sides):
        raise StageError(
            f"input '{name}': expected images (n, channels, height, width) with stated sides, received "
            f"{['any' if side is None else side for side in graph.input_shape]}; export the model with only the batch free"
        )
    if len(known) < 3 or not channels_first(graph):
        return known, tuple((axis,) for axis in range(len(known) + 1))
    return (known[1], known[2], known[0]), ((0,), (3,), (1,), (2,))


def channels_first(graph: OnnxGraph) -> bool:
    """Return whether the input is (n, channels, height, width).

    Raises:
        StageError: neither its readers nor its shape tell.
    """
    names = {graph.input_name}
    for node in graph.nodes:
        if not names & {*node.inputs[:1]} and not (node.op in _ELEMENTWISE and names & {*node.inputs}):
            continue
        if node.op in _CHANNELS_SECOND:
            return True
        if node.op == "Transpose" and (order := node.integers("perm", ())) in (_TO_LAST, _TO_FIRST):
            return order == _TO_LAST
        if node.op in _ELEMENTWISE:
            names.update(node.outputs)
    first, last = graph.input_shape[1] in _CHANNELS, graph.input_shape[-1] in _CHANNELS
    if first == last:
        raise StageError(
            f"input '{graph.input_name}' of shape {graph.input_shape}: cannot tell the axis of channels; export a model whose "
            "first operator is a convolution or a transposition"
        )
    return first
