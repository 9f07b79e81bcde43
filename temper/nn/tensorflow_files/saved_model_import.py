"""Makes a Keras model of the signature of a SavedModel folder."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from temper.core.errors import StageError
from temper.nn.model_files.layer_graph import LayerGraph
from temper.nn.tensorflow_files.saved_model_folder import SavedModelFolder
from temper.nn.tensorflow_files.signature_layer import signature_layer
from temper.system import backend


def signature_model(folder: Path, graph: LayerGraph) -> Any:
    """Return a Keras model of one layer that computes the signature of a SavedModel.

    Raises:
        StageError: TensorFlow cannot load it, its graph does more than compute, or the number of outputs is unknown.
    """
    if graph.num_outputs is None:
        raise StageError(
            f"{folder}: its signature states no number of outputs; export the model again with a fixed one"
        )
    keras = backend.keras()
    layer = signature_layer()(graph.num_outputs, name="saved_model")
    try:
        layer.fill(_checked(folder))
        inputs = keras.Input(graph.input_shape)
        return keras.Model(inputs, layer(inputs))
    except (StageError, MemoryError):
        raise
    except Exception as error:  # TensorFlow raises all kinds of errors on corrupted files
        raise StageError(f"{folder}: TensorFlow cannot load it: {str(error)[:300]}; the folder is corrupted") from error


def _checked(folder: Path) -> bytes:
    """Return a folder's files, packed and then checked, so that nobody can change them in between."""
    SavedModelFolder(folder).check_members()
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            # Without the time, so that equal models are stored as equal files.
            archive.writestr(zipfile.ZipInfo(path.relative_to(folder).as_posix()), path.read_bytes())
    with TemporaryDirectory() as place, zipfile.ZipFile(content) as archive:
        archive.extractall(place)
        copy = SavedModelFolder(Path(place))
        copy.check_members()
        for message in copy.faults():
            raise StageError(f"{folder}: {message}")
    return content.getvalue()
