"""The closed list of ONNX operators, with the function that converts each."""

from __future__ import annotations

from collections.abc import Mapping

from temper.nn.onnx.constant_folding import FOLDABLE
from temper.nn.onnx.model_builder import Converter
from temper.nn.onnx_operators import (
    activation_nodes,
    arithmetic_nodes,
    convolution_nodes,
    matrix_nodes,
    normalisation_nodes,
    pooling_nodes,
    resize_nodes,
    selection_nodes,
    shape_nodes,
)

CONVERTERS: Mapping[str, Converter] = {
    **activation_nodes.CONVERTERS,
    **arithmetic_nodes.CONVERTERS,
    **convolution_nodes.CONVERTERS,
    **matrix_nodes.CONVERTERS,
    **normalisation_nodes.CONVERTERS,
    **pooling_nodes.CONVERTERS,
    **resize_nodes.CONVERTERS,
    **selection_nodes.CONVERTERS,
    **shape_nodes.CONVERTERS,
}
"""Operators of tensors that depend on the images."""

OPERATORS = FOLDABLE | CONVERTERS.keys()
"""All supported operators: some are computed from constants only."""
