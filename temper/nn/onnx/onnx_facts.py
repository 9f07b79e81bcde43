"""What an ONNX file says of its input and output, without its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from temper.nn.onnx.image_axes import image_axes
from temper.nn.onnx.onnx_graph import OnnxGraph, Side
from temper.nn.onnx.tensor_layout import Axes


@dataclass(frozen=True)
class OnnxFacts:
    """Input and output of a model: ``image`` is (height, width, channels), ``axes`` where the ONNX tensor has them.

    ``batch`` is the number of images that the file fixes; ``half`` says that weights are in half precision.
    """

    path: Path
    image: tuple[int, ...]
    axes: Axes
    batch: Side
    output_shape: tuple[Side, ...]
    half: bool
    data_files: tuple[Path, ...]


def facts_of(graph: OnnxGraph) -> OnnxFacts:
    """Return what a graph says of its input and output.

    Raises:
        StageError: it does not take images, or the place of their channels is unknown.
    """
    image, axes = image_axes(graph)
    return OnnxFacts(graph.path, image, axes, graph.input_shape[0], graph.output_shape, graph.half, graph.data_files)
