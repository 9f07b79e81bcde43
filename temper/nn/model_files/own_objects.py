"""Layers and functions of the users' own that their components register with Keras."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

LAYER = (
    "register a layer of your own with @keras.saving.register_keras_serializable(package='mine') above its class, in a file of the "
    "folder that --components names, and save the model again"
)


def any_registered() -> bool:
    """Return whether anything but Keras's own objects may be registered: only what imports Keras can do it."""
    return "keras" in sys.modules


def registered(name: Any) -> Any:
    """Return the class or function that is registered with Keras under a name (``package>name``), or ``None``.

    Keras is not imported: what imported it registered it.
    """
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(name, str) or ">" not in name or not hasattr(keras, "saving"):
        return None
    return keras.saving.get_registered_object(name)


def advice(name: str) -> str:
    """Return what to do about an object that nobody registered."""
    package, _, short = name.partition(">")
    return (
        f"{name} is a custom object that is not registered; put these two lines into a file of the folder that --components names: "
        f"@keras.saving.register_keras_serializable(package={package!r}, name={short!r}) and, below it, the definition of {short}"
    )


def name_of_function(value: Any) -> Any:
    """Return the name of an activation: ``None`` is linear, and Keras writes functions as mappings, too."""
    if value is None:
        return "linear"
    if not isinstance(value, Mapping):
        return value
    name = value.get("registered_name")
    if isinstance(name, str) and ">" in name:
        return name
    config = value.get("config")
    return config if value.get("class_name") == "function" and isinstance(config, str) else value


def names(config: Any) -> Iterator[str]:
    """Yield the texts in a configuration that may be names of custom objects."""
    if isinstance(config, Mapping):
        for value in config.values():
            if isinstance(value, str) and ">" in value:
                yield value
        config = list(config.values())
    if isinstance(config, list):
        for item in config:
            yield from names(item)


def sources(config: Any) -> Iterator[Path]:
    """Yield the files that define the registered objects in a configuration, each once."""
    found = {inspect.getsourcefile(own) for name in set(names(config)) if (own := registered(name)) is not None}
    yield from (Path(file) for file in sorted(filter(None, found)))
