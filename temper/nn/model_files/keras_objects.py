"""The closed list of objects of Keras 3 that a saved model may consist of."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from temper.core.errors import StageError
from temper.nn.model_files import own_objects
from temper.system import backend

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
OPERATION = "keras.Operation"
"""The module of an operation, in files that do not state it."""
_CORE = "keras.src.ops.core"
_CORE_OPERATIONS = ("Cast", "ConvertToTensor", "StopGradient", "Unstack")
"""Operations of ``keras.src.ops.core`` that take no function."""


def unsafe(value: Any) -> Iterator[str]:
    """Yield why a Keras 3 configuration is not loaded: objects of other modules than Keras, or layers that run code."""
    if isinstance(value, Mapping):
        if value.get("class_name") in _REFUSED:
            yield f"a {value['class_name']} layer runs code of the file's author, which is never loaded; rebuild it without"
        elif name := _own(value):
            if own_objects.registered(name) is None:
                yield own_objects.advice(name)
        elif (module := value.get("module")) is not None and not _of_keras(module, value.get("class_name")):
            yield (
                f"{value.get('class_name')} of module {module!r} is not a supported layer or operation of Keras; "
                f"rebuild the model without it, or {own_objects.LAYER}"
            )
        for item in value.values():
            yield from unsafe(item)
    elif isinstance(value, list):
        for item in value:
            yield from unsafe(item)


def with_modules(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of an HDF5 file of Keras 3, which names no modules, with the module of each layer."""
    name, options = model.get("class_name"), model.get("config")
    if not isinstance(options, Mapping) or "module" in model:
        return dict(model)
    if isinstance(options.get("layers"), list):
        inner = [with_modules(raw) if isinstance(raw, Mapping) else raw for raw in options["layers"]]
        module = "keras.src.models.functional" if name == "Functional" else "keras"
        return {**model, "module": module, "registered_name": None, "config": {**options, "layers": inner}}
    if isinstance(name, str) and ">" in name:
        return {**model, "module": None, "class_name": name.partition(">")[2], "registered_name": name}
    # An operation may have the name of a layer (Add), but only layers say whether they are trainable.
    module = "keras.layers" if name == "InputLayer" or "trainable" in options else OPERATION
    return {**model, "module": module, "registered_name": None}


def with_operations(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration in which the module of each operation is the one of Keras that defines it.

    Raises:
        StageError: Keras has no such operation.
    """
    if model.get("module") == OPERATION:
        return {**model, "module": _module_of(str(model["class_name"]))}
    options = model.get("config")
    if isinstance(options, Mapping) and isinstance(options.get("layers"), list):
        return {**model, "config": {**options, "layers": [with_operations(raw) for raw in options["layers"]]}}
    return dict(model)


def _module_of(name: str) -> str:
    operation = backend.keras().Operation
    for module in (*_OPERATIONS, *([_CORE] if name in _CORE_OPERATIONS else [])):
        found = getattr(importlib.import_module(module), name, None)
        if isinstance(found, type) and issubclass(found, operation):
            return module
    raise StageError(f"{name[:40]} is neither a layer nor an operation of Keras {backend.keras().__version__}")


def _own(value: Mapping[str, Any]) -> str | None:
    """Return the name under which an object of the user's own is registered, if it is one."""
    function = value.get("config") if value.get("class_name") == "function" else None
    return next(
        (name for name in (value.get("registered_name"), function) if isinstance(name, str) and ">" in name), None
    )


def _of_keras(module: Any, kind: Any) -> bool:
    if not isinstance(module, str):
        return False
    if module == _CORE:
        return kind in _CORE_OPERATIONS
    return module in (OPERATION, *_MODULES, *_OPERATIONS) or module in {f"keras.{name}" for name in _SUBMODULES}
