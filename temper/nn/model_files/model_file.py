"""Opens saved models of any Keras version without running code from the file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from temper.core.errors import StageError
from temper.nn.model_files import hdf5_weights, keras_rebuild, untrusted_files
from temper.nn.model_files.keras_config import LayerGraph, parse
from temper.system import backend
from temper.system.files import regular, unpacks_to_too_much

HDF5 = (".h5", ".hdf5")
MAX_VALUES = 2**28
"""Maximum number of output values of a layer for one image."""
_BYTES = 4
"""Size of a weight in bytes."""

# Deserialising any of these runs code or opens further files.
_REFUSED = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer")
_MODULES = ("keras", "keras.src.models.functional", "keras.src.models.sequential")
_SUBMODULES = (
    "layers",
    "initializers",
    "regularizers",
    "constraints",
    "activations",
    "losses",
    "optimizers",
    "metrics",
    "dtype_policies",
    "quantizers",
    "ops",
)
_OPERATIONS = tuple(f"keras.src.ops.{name}" for name in ("numpy", "nn", "math", "linalg", "image"))
_CORE_OPERATIONS = ("Cast", "ConvertToTensor", "StopGradient", "Unstack")
"""Operations of ``keras.src.ops.core`` that take no function."""


@dataclass(frozen=True)
class ModelFile:
    """A model on disk: a ``.keras`` archive, an HDF5 file of a whole model, or HDF5 weights with a JSON architecture."""

    path: Path
    architecture: Path | None = None

    @cached_property
    def graph(self) -> LayerGraph:
        """The model's layers and connections, read without a framework.

        Raises:
            StageError: the file is corrupted, has no architecture, or does not describe a Sequential or Functional
            model.
        """
        config = self._config
        try:
            return parse(config)
        except StageError as error:
            raise StageError(f"{self.architecture or self.path}: {error}") from None

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for every reason the model cannot be loaded; imports no framework."""
        if self._is_archive and self.architecture:
            yield "architecture", f"{self.path} contains its own architecture; remove this one"
            return
        field = "architecture" if self.architecture else "path"
        try:
            graph = self.graph
            unsafe = list(_unsafe(self._config)) if self._is_archive else list(keras_rebuild.faults(graph))
            size = regular(self.path).stat().st_size
        except StageError as error:
            yield field, str(error)
            return
        if fault := unpacks_to_too_much(size, _BYTES * graph.least_weights):
            unsafe.append(f"the layers have at least {graph.least_weights:,} weights, far more than the file: {fault}")
        yield from ((field, f"{self.architecture or self.path}: {message}") for message in unsafe)

    def load(self) -> Any:
        """Return the Keras model as saved, including its weights.

        Raises:
            StageError: the model cannot be loaded; the message names the layer.
        """
        if found := next(self.faults(), None):
            raise StageError(found[1])
        model = self._loaded() if self._is_archive else self._rebuilt()
        for layer in model.layers:
            for shape in _shapes(layer):
                if (values := math.prod(side or 1 for side in shape)) > MAX_VALUES:
                    raise StageError(
                        f"{self.path}: layer '{layer.name}' outputs {values:,} values for one image; expected at most {MAX_VALUES:,}"
                    )
        return model

    def _loaded(self) -> Any:
        try:
            return backend.keras().models.load_model(self.path, compile=False, safe_mode=True)
        except MemoryError:
            raise
        except Exception as error:  # Keras raises all kinds of errors on a corrupted file
            # Keras wraps the reason in the configurations of all surrounding layers.
            reason = str(error).rpartition("Exception encountered: ")[2]
            raise StageError(
                f"{self.path}: Keras cannot load it, it is corrupted or not supported: {reason}"
            ) from error

    def _rebuilt(self) -> Any:
        keras = backend.keras()
        inputs = keras.Input(self.graph.input_shape)
        try:
            model = keras.Model(inputs, self.graph.connect(inputs, keras_rebuild.layer))
        except (StageError, MemoryError):
            raise
        except Exception as error:  # Keras raises all kinds of errors on invalid options
            raise StageError(f"{self.path}: the layers do not fit together: {error}") from error
        hdf5_weights.load(model, self.path, by_name=True, described_on=self._config.get("backend"))
        return model

    @property
    def _is_archive(self) -> bool:
        return self.path.suffix == ".keras"

    @cached_property
    def _config(self) -> Mapping[str, Any]:
        if self.architecture:
            config = untrusted_files.configuration(self.architecture)
        elif self._is_archive:
            config = untrusted_files.archived_configuration(self.path)
        else:
            config = untrusted_files.parsed(_hdf5_config(self.path), self.path)
        # The compile settings are never deserialised, so a custom loss does no harm.
        return {key: value for key, value in config.items() if key != "compile_config"}


def _hdf5_config(path: Path) -> str:
    if path.suffix not in HDF5:
        raise StageError(
            f"{path}: expected a model file (.keras, {', '.join(HDF5)}), received {path.suffix or 'another'}"
        )
    with untrusted_files.hdf5(path) as file:
        if "model_config" not in file.attrs:
            beside = path.with_suffix(".json")
            advice = (
                f"name its architecture: {beside.name}" if beside.exists() else "name the JSON file of its architecture"
            )
            raise StageError(
                f"{path}: contains weights only; {advice} (architecture: ...), or load them into the target whose network "
                "they belong to (dense, lenet5, ...: initial_weights with epochs: 0)"
            )
        config = file.attrs["model_config"]
        return config.decode() if isinstance(config, bytes) else str(config)


def _shapes(layer: Any) -> Iterator[Any]:
    """Yield the output shapes of a layer, if it is called once and states them."""
    try:
        output = layer.output
    except (AttributeError, ValueError):  # called several times, or without a stated shape
        return
    yield from (tensor.shape for tensor in (output if isinstance(output, list | tuple) else [output]))


def _unsafe(value: Any) -> Iterator[str]:
    """Yield why a Keras 3 configuration is not loaded: objects of other modules than Keras, or layers that run code."""
    if isinstance(value, Mapping):
        if value.get("class_name") in _REFUSED:
            yield f"a {value['class_name']} layer runs code of the file's author, which is never loaded; rebuild it without"
        elif (module := value.get("module")) is not None and not _of_keras(module, value.get("class_name")):
            yield (
                f"{value.get('class_name')} of module {module!r} is not a supported layer or operation of Keras; "
                "rebuild the model without it"
            )
        elif value.get("class_name") and ">" in str(value.get("registered_name") or ""):
            yield f"{value['registered_name']} is a custom object; only Keras's own objects are loaded"
        for item in value.values():
            yield from _unsafe(item)
    elif isinstance(value, list):
        for item in value:
            yield from _unsafe(item)


def _of_keras(module: Any, kind: Any) -> bool:
    if not isinstance(module, str):
        return False
    if module == "keras.src.ops.core":
        return kind in _CORE_OPERATIONS
    return module in (*_MODULES, *_OPERATIONS) or module in {f"keras.{name}" for name in _SUBMODULES}
