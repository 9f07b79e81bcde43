"""A Keras layer that computes the signature of a SavedModel: with gradients, but without units to observe or train."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from temper.system import backend

SIGNATURE = "serving_default"
_FILE = "saved_model.zip"


@cache
def signature_layer() -> Any:
    """Return the class of the layer, registered with Keras, so that stored classifiers load."""
    keras = backend.keras()

    @keras.saving.register_keras_serializable(package="temper")
    class SignatureLayer(keras.layers.Layer):  # type: ignore[name-defined,misc]
        """Computes ``units`` outputs with the SavedModel that it is filled with."""

        def __init__(self, units: int, **options: Any) -> None:
            super().__init__(**options)
            self.units = units
            self._content = b""
            self._function: Any = None

        def fill(self, content: bytes) -> None:
            """Compute with a SavedModel, checked and packed as a zip archive, from now on."""
            self._content, self._function = content, _function(content)

        def call(self, x: Any) -> Any:
            return self._function(x)

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], self.units)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

        def save_assets(self, folder: str) -> None:
            (Path(folder) / _FILE).write_bytes(self._content)

        def load_assets(self, folder: str) -> None:
            self.fill((Path(folder) / _FILE).read_bytes())

    return SignatureLayer


@lru_cache(maxsize=8)
def _function(content: bytes) -> Callable[[Any], Any]:
    """Return the function of a packed SavedModel's signature; copies of a layer share it, as it has no state of theirs."""
    import tensorflow as tf

    with TemporaryDirectory() as place:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            archive.extractall(place)
        loaded = tf.saved_model.load(place)
    signature = loaded.signatures[SIGNATURE]
    (given,), (output,) = signature.structured_input_signature[1], signature.structured_outputs

    def compute(x: Any) -> Any:
        return signature(**{given: x})[output]

    compute.model = loaded  # type: ignore[attr-defined]  # owns the variables, to which the signature refers weakly
    return compute
