"""A PyTorch classifier in a file, as a functional Keras model of native layers: exported to ONNX and read as such."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np

from temper.core.artefacts import Images
from temper.core.errors import StageError
from temper.nn.onnx.onnx_model import OnnxModel
from temper.nn.pytorch import architectures, exported_program, state_dict_file
from temper.system import backend, packages

SUFFIXES = (*state_dict_file.SUFFIXES, exported_program.SUFFIX)
PACKAGES = ("torch", "onnx", "onnxscript")
Shape = tuple[int | None, ...]
TOLERANCE = 1e-4
"""Largest difference of an output relative to the largest output."""
_FLOAT32 = 7
"""Number of the type in the schema of exported programs."""
_AT_ONCE, _SINGLE = 32, 4
"""Images in a batch, and bytes of a number in single precision."""


@dataclass(frozen=True)
class TorchModel:
    """An exported program, or weights with the name of their architecture."""

    path: Path
    architecture: str | None = None
    image: Shape | None = None
    """Shape (height, width, channels) of the images, which weights do not state."""

    channels_first: ClassVar[bool] = False
    """The Keras model always takes (height, width, channels)."""
    only_signature: ClassVar[str] = ""
    """The model always has layers."""

    @property
    def graph(self) -> TorchModel:
        """The model itself, whose shapes are read without a framework."""
        return self

    @property
    def is_program(self) -> bool:
        """Whether the file has its own architecture."""
        return self.path.suffix == exported_program.SUFFIX

    @cached_property
    def _shapes(self) -> tuple[Shape, Shape]:
        """Shapes of the program's only input and output, with their batch."""
        module = exported_program.program_of(self.path)["graph_module"]
        inputs = [spec["user_input"]["arg"] for spec in module["signature"]["input_specs"] if "user_input" in spec]
        outputs = [spec["user_output"]["arg"] for spec in module["signature"]["output_specs"] if "user_output" in spec]
        if len(inputs) != 1 or len(outputs) != 1 or not all(arg.get("as_tensor") for arg in (*inputs, *outputs)):
            raise StageError(
                f"{self.path}: expected one input and one output, received {len(inputs)} and {len(outputs)}; export a model that takes "
                "images and returns logits only"
            )
        if module["graph"]["tensor_values"][inputs[0]["as_tensor"]["name"]]["dtype"] != _FLOAT32:
            raise StageError(f"{self.path}: expected images in single precision; export model.float()")
        sides = [
            tuple(side.get("as_int") for side in module["graph"]["tensor_values"][arg["as_tensor"]["name"]]["sizes"])
            for arg in (*inputs, *outputs)
        ]
        return sides[0], sides[1]

    @property
    def input_shape(self) -> Shape:
        """Shape of the input without the batch: (height, width, channels) of images, ``None`` where the file does not say."""
        if not self.is_program:
            return (None, None, None)
        _, *sides = self._shapes[0]
        if len(sides) != 3:
            return tuple(sides)
        # Where the channels are is only certain once the graph is read; PyTorch's own layers have them first.
        return (sides[1], sides[2], sides[0]) if sides[2] not in (1, 3) or sides[0] in (1, 3) else tuple(sides)

    @property
    def num_outputs(self) -> int | None:
        """Number of outputs, or ``None`` if only the weights say it."""
        return self._shapes[1][1] if self.is_program and len(self._shapes[1]) == 2 else None

    def own_sources(self) -> Iterator[Path]:
        """Yield further files that belong to the model: none."""
        return iter(())

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for every reason the file cannot be loaded that shows without importing torch."""
        try:
            if self.is_program:
                self._shapes  # noqa: B018 - reading says what is wrong
            elif text := state_dict_file.problem(self.path):
                yield "path", text
                return
        except StageError as error:
            yield "path", str(error)
            return
        except (AttributeError, LookupError, TypeError) as error:
            yield "path", f"{self.path}: its program has other parts than expected ({error!r}); the file is corrupted"
            return
        if self.is_program and self.architecture:
            yield "architecture", f"{self.path} contains its own architecture; remove this one"
        elif not self.is_program and not self.architecture:
            yield (
                "path",
                f"{self.path}: contains weights only; name their network, as in architecture: torchvision/resnet18 "
                "(or timm/NAME, robustbench/WideResNet-28-10), or export the model: torch.onnx.export",
            )
        elif self.architecture and (text := architectures.problem(self.architecture)):
            yield "architecture", text
        if advice := packages.advice(PACKAGES):
            yield "path", f"{self.path}: {advice}"

    @property
    def remark(self) -> str:
        """What the report says of the loaded weights; empty if there is nothing to say."""
        module = self._module
        kept = module.state_dict.values() if self.is_program else self._weights.values()
        narrow = sorted(
            {str(value.dtype) for value in kept if value.is_floating_point() and value.dtype.itemsize < _SINGLE}
        )
        return f"The weights are in {' and '.join(narrow)}; the model computes in single precision." if narrow else ""

    @cached_property
    def _weights(self) -> Any:
        return state_dict_file.weights(self.path)

    def for_images(self, image: Shape) -> TorchModel:
        """Return the file for images of a shape (height, width, channels)."""
        return replace(self, image=image)

    @cached_property
    def _module(self) -> Any:
        """The original in PyTorch, in single precision, from images with their channels first."""
        if found := next(self.faults(), None):
            raise StageError(found[1])
        if self.is_program:
            return exported_program.load(self.path)
        assert self.architecture is not None
        assert self.image is not None
        assert self.image[0] is not None
        try:
            return architectures.module(self.architecture, self._weights, self.image[0])
        except StageError as error:
            raise StageError(f"{self.path}: {error}" if str(self.path) not in str(error) else str(error)) from error

    def load(self) -> Any:
        """Return the Keras model.

        Raises:
            StageError: the file cannot be loaded, exported or converted.
        """
        with TemporaryDirectory() as folder, _quiet():
            path = Path(folder) / "model.onnx"
            self._export(path)
            try:
                return OnnxModel(path).load()
            except StageError as error:
                raise StageError(f"{self.path}: {str(error).replace(f'{path}: ', '')}") from error

    def _export(self, path: Path) -> None:
        import torch

        module = self._module
        try:
            if not self.is_program:
                assert self.image is not None
                height, width, channels = self.image
                sample = torch.zeros(2, channels, height, width)
                module = torch.export.export(module, (sample,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
            # Optimised, a batch normalisation would be folded into the convolution in front of it.
            torch.onnx.export(module, (), str(path), dynamo=True, optimize=False, external_data=False, verbose=False)
        except MemoryError:
            raise
        except Exception as error:  # torch and its exporter raise all kinds of errors
            reason = str(error).strip().partition("\n")[0][:300]
            raise StageError(
                f"{self.path}: PyTorch cannot export it for images of the shape {self.image or self.input_shape}: {reason}"
            ) from error

    def check(self, model: Any, images: Images) -> None:
        """Compare the outputs of the loaded model with PyTorch's on some of its inputs (n, height, width, channels).

        Raises:
            StageError: they differ, or PyTorch cannot run the original.
        """
        import torch

        module = self._module.module(check_guards=False) if self.is_program else self._module
        wanted = self._shapes[0] if self.is_program else ()
        first = not wanted or tuple(wanted[1:]) != tuple(model.input_shape[1:]) or wanted[1] == wanted[3]
        with torch.no_grad(), _quiet():
            expected, found = [], []
            for start in range(0, len(images), step := (wanted[0] if wanted and wanted[0] else _AT_ONCE)):
                part = images[start : start + step]
                given = np.concatenate([part, np.repeat(part[-1:], step - len(part), 0)])
                tensor = torch.tensor(np.ascontiguousarray(np.moveaxis(given, -1, 1) if first else given))
                expected.append(module(tensor).float().numpy().reshape(step, -1)[: len(part)])
                found.append(np.asarray(backend.keras().ops.convert_to_numpy(model(part, training=False))))
        theirs, ours = np.concatenate(expected), np.concatenate(found)
        difference = np.abs(ours.reshape(theirs.shape) - theirs).max() / max(
            np.abs(theirs).max(), np.finfo(np.float32).tiny
        )
        if not difference <= TOLERANCE:
            raise StageError(
                f"{self.path}: the converted model differs from PyTorch by {difference:.1e} of the largest output; expected at most "
                f"{TOLERANCE:.0e}. Was it exported in training mode? Call model.eval() first; otherwise report this with the file"
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's warnings about itself from the user's screen."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "torch._export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
