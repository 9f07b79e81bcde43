"""Opens saved models of any Keras version without running code from the file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from temper.core.errors import StageError
from temper.nn.model_files import (
    hdf5_weights,
    keras_objects,
    keras_rebuild,
    own_objects,
    untrusted_files,
    weight_places,
)
from temper.nn.model_files.keras_config import is_current, parse
from temper.nn.model_files.keras_rebuild import Rebuilding, takes_channels_first
from temper.nn.model_files.layer_graph import LayerGraph
from temper.nn.tensorflow_files.saved_model_folder import SavedModelFolder
from temper.nn.tensorflow_files.saved_model_import import signature_model
from temper.nn.tensorflow_files.stored_variables import StoredVariables
from temper.system import backend
from temper.system.files import regular, unpacks_to_too_much

HDF5 = (".h5", ".hdf5")
MAX_VALUES = 2**28
"""Maximum number of output values of a layer for one image."""
_BYTES = 4
"""Size of a weight in bytes."""


@dataclass(frozen=True)
class ModelFile:
    """A model on disk: a ``.keras`` archive, a SavedModel folder, an HDF5 file of a model, or HDF5 weights with a JSON architecture."""

    path: Path
    architecture: Path | None = None

    @cached_property
    def graph(self) -> LayerGraph:
        """The model's layers and connections, read without a framework.

        Raises:
            StageError: the file is corrupted, has no architecture, or does not describe a Sequential or Functional
            model.
        """
        if self.only_signature:
            assert self._folder is not None
            return self._folder.graph
        config = self._config
        try:
            return parse(config)
        except StageError as error:
            raise StageError(f"{self.architecture or self.path}: {error}") from None

    @property
    def channels_first(self) -> bool:
        """Whether the layers say that the model takes (channels, height, width).

        Raises:
            StageError: see ``graph``.
        """
        return takes_channels_first(self.graph)

    def own_sources(self) -> Iterator[Path]:
        """Yield the files that define the users' own layers and functions in the model, as far as they are registered."""
        if not own_objects.any_registered():
            return
        with suppress(StageError):  # reported by faults()
            yield from own_objects.sources(self._config)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for every reason the model cannot be loaded; imports no framework."""
        if (self._is_archive or self._folder) and self.architecture:
            yield "architecture", f"{self.path} contains its own architecture; remove this one"
            return
        field = "architecture" if self.architecture else "path"
        try:
            if self._folder:
                self._folder.check_members()
            graph = self.graph
            unsafe = list(self._refusals(graph))
            size = sum(path.stat().st_size for path in self._parts())
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
        if self.only_signature:
            model = signature_model(self.path, self.graph)
        else:
            model = self._deserialised() if self._is_current else self._rebuilt()
        for layer in model.layers:
            for shape in _shapes(layer):
                if (values := math.prod(side or 1 for side in shape)) > MAX_VALUES:
                    raise StageError(
                        f"{self.path}: layer '{layer.name}' outputs {values:,} values for one image; expected at most {MAX_VALUES:,}"
                    )
        return model

    def _deserialised(self) -> Any:
        """Return a model that Keras 3 wrote."""
        described = keras_objects.with_operations(self._config)
        try:
            model = backend.keras().saving.deserialize_keras_object(described, safe_mode=True)
            if self._is_archive:
                # Keras's own load_model holds the whole archive in memory.
                with untrusted_files.unpacked_weights(self.path) as weights:
                    model.load_weights(weights)
        except (StageError, MemoryError):
            raise
        except Exception as error:  # Keras raises all kinds of errors on a corrupted file
            # Keras wraps the reason in the configurations of all surrounding layers.
            reason = str(error).rpartition("Exception encountered: ")[2]
            raise StageError(
                f"{self.path}: Keras cannot load it, it is corrupted or not supported: {reason}"
            ) from error
        if not self._is_archive:
            hdf5_weights.load(model, self.path, by_name=True)
        return model

    def _rebuilt(self) -> Any:
        """Return a model that Keras 1 or 2 wrote."""
        rebuilding = Rebuilding(self.graph)
        try:
            model = rebuilding.model()
        except (StageError, MemoryError):
            raise
        except Exception as error:  # Keras raises all kinds of errors on invalid options
            raise StageError(f"{self.path}: the layers do not fit together: {error}") from error
        if self._folder:
            weight_places.load_named(rebuilding, StoredVariables(self.path / "variables").find)
        elif self._is_archive:
            with untrusted_files.archived_weights(self.path) as weights:
                weight_places.load_archived(rebuilding, weights)
        else:
            hdf5_weights.load(
                model,
                self.path,
                by_name=True,
                described_on=self._config.get("backend"),
                variables=weight_places.by_top_level(rebuilding),
            )
        return model

    @cached_property
    def only_signature(self) -> str:
        """Why only the signature of a SavedModel can be loaded, as one opaque layer; empty if the layers can be rebuilt."""
        if self._folder is None:
            return ""
        if (config := self._folder.keras_config) is None:
            return "it contains no layers of Keras 2"
        try:
            return next(keras_rebuild.faults(parse(config)), "")
        except StageError as error:
            return str(error)

    def _refusals(self, graph: LayerGraph) -> Iterator[str]:
        if self.only_signature:
            assert self._folder is not None
            if backend.name() != "tensorflow":
                yield f"only TensorFlow computes it, as {self.only_signature}; set KERAS_BACKEND=tensorflow, or save it as .keras"
            yield from self._folder.faults()
        else:
            yield from keras_objects.unsafe(self._config) if self._is_current else keras_rebuild.faults(graph)

    def _parts(self) -> Iterator[Path]:
        yield from (
            (path for path in self.path.rglob("*") if path.is_file()) if self._folder else (regular(self.path),)
        )

    @cached_property
    def _folder(self) -> SavedModelFolder | None:
        return SavedModelFolder(self.path) if self.path.is_dir() else None

    @property
    def _is_current(self) -> bool:
        return is_current(self._config)

    @property
    def _is_archive(self) -> bool:
        return self.path.suffix == ".keras"

    @cached_property
    def _config(self) -> Mapping[str, Any]:
        if self.architecture:
            config = untrusted_files.configuration(self.architecture)
        elif self._folder:
            config = self._folder.keras_config or {}
        elif self._is_archive:
            config = untrusted_files.archived_configuration(self.path)
        else:
            config = untrusted_files.parsed(_hdf5_config(self.path), self.path)
        if is_current(config):
            config = keras_objects.with_modules(config)
        # The compile settings are never deserialised, so a custom loss does no harm.
        return {key: value for key, value in config.items() if key != "compile_config"}


def _hdf5_config(path: Path) -> str:
    if path.suffix not in HDF5:
        raise StageError(
            f"{path}: expected a model file (.keras, {', '.join(HDF5)}) or a SavedModel folder, received {path.suffix or 'another'}"
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
