"""A classifier in an ONNX file, as a functional Keras model of native layers with its channels last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from temper.core.artefacts import Images
from temper.core.errors import StageError
from temper.nn.onnx import runtime_check
from temper.nn.onnx.fused_patterns import fused
from temper.nn.onnx.model_builder import ModelBuilder
from temper.nn.onnx.onnx_facts import OnnxFacts, facts_of
from temper.nn.onnx.onnx_graph import OnnxGraph, read_graph
from temper.nn.onnx.operator_registry import CONVERTERS, OPERATORS
from temper.system import packages

SUFFIX = ".onnx"
PACKAGES = ("onnx", "onnxruntime")
"""Import names of what reading and checking an ONNX file needs."""


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX file with its external data, if it has any."""

    path: Path
    architecture: Path | None = None
    """Must be ``None``: an ONNX file contains its architecture."""

    channels_first: ClassVar[bool] = False
    """The Keras model always takes (height, width, channels)."""
    only_signature: ClassVar[str] = ""
    """The model always has layers."""

    @property
    def graph(self) -> OnnxModel:
        """The model itself, whose shapes are read without a framework."""
        return self

    @cached_property
    def facts(self) -> OnnxFacts:
        """What the file says of its input and output, read without a framework.

        Raises:
            StageError: the file cannot be read, is corrupted, outside the limits or not supported.
        """
        return facts_of(self._read())

    def _read(self) -> OnnxGraph:
        # Not kept: the weights would stay in memory next to those of the Keras model.
        if advice := packages.advice(PACKAGES):
            raise StageError(f"{self.path}: {advice}")
        return read_graph(self.path, OPERATORS)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the model's input without the batch: (height, width, channels) of images."""
        return self.facts.image

    @property
    def num_outputs(self) -> int | None:
        """Number of outputs, or ``None`` if the file does not state it."""
        sides = self.facts.output_shape[1:]
        return sides[0] if sides and all(side == 1 for side in sides[1:]) else None

    def own_sources(self) -> Iterator[Path]:
        """Yield the files with external data, as far as the file names them."""
        with suppress(StageError):  # reported by ``faults``
            yield from self.facts.data_files

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for every reason the file cannot be loaded; imports no framework."""
        if self.architecture:
            yield "architecture", f"{self.path} contains its own architecture; remove this one"
        try:
            self.facts  # noqa: B018 - reading says what is wrong
        except StageError as error:
            yield "path", str(error) if str(self.path) in str(error) else f"{self.path}: {error}"

    def load(self) -> Any:
        """Return the Keras model.

        Raises:
            StageError: the file cannot be read or converted; the message names the node.
        """
        if found := next(self.faults(), None):
            raise StageError(found[1])
        try:
            return ModelBuilder(fused(self._read()), CONVERTERS).build(self.facts.image, self.facts.axes)
        except StageError as error:
            raise StageError(f"{self.path}: {error}") from error

    def check(self, model: Any, images: Images) -> None:
        """Compare the outputs of the loaded model with onnxruntime's on some of its inputs (n, ...).

        Raises:
            StageError: they differ, or onnxruntime cannot run the file.
        """
        runtime_check.check(self.facts, model, images)
