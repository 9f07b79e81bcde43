"""Layers and activations that a user registers with Keras in a folder of components."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from temper.core.classifier import Classifier
from temper.core.errors import StageError
from temper.engine.catalogue.discovery import discover
from temper.nn.model_files.model_file import ModelFile
from temper.system import backend
from temper.targets.models.saved import Saved
from tests.targets.models.support import DATASET, blank, given, run

X = np.random.default_rng(0).random((3, 4, 4, 1), np.float32)
SOURCE = """
import keras

@keras.saving.register_keras_serializable(package="PACKAGE")
class Gain(keras.layers.Layer):
    def __init__(self, by=2.0, **options):
        super().__init__(**options)
        self.by = by

    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), initializer="ones", name="gain")

    def call(self, x):
        return x * self.gain * self.by

    def get_config(self):
        return {**super().get_config(), "by": self.by}

@keras.saving.register_keras_serializable(package="PACKAGE")
def cube(x):
    return x * x * x
"""


def model(folder: Path, package: str) -> Any:
    """Return a model of layers that a folder of components registers."""
    folder.mkdir()
    (folder / "layers.py").write_text(SOURCE.replace("PACKAGE", package))
    discover([folder])
    keras = backend.keras()
    gain, cube = (keras.saving.get_registered_object(f"{package}>{name}") for name in ("Gain", "cube"))
    built = keras.Sequential(
        [keras.Input((4, 4, 1)), gain(by=3.0), keras.layers.Flatten(), keras.layers.Dense(5, activation=cube, name="hidden"),
         keras.layers.Dense(3)]
    )  # fmt: skip
    built.layers[0].set_weights([np.array([0.7], np.float32)])
    return built


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_registered_layers_and_activations_are_loaded_stored_and_loaded_again(tmp_path: Path, suffix: str) -> None:
    built = model(tmp_path / f"own_{suffix[1:]}", f"own{suffix[1:]}")
    built.save(path := tmp_path / f"model{suffix}")
    component = Saved(dataset=DATASET, path=str(path))
    assert list(component.check()) == []
    classifier = component.produce(run({DATASET: blank((4, 4, 1), 3)}))
    np.testing.assert_allclose(classifier.logits(X), given(built, X), rtol=1e-4, atol=1e-6)
    classifier.save(tmp_path)
    np.testing.assert_allclose(Classifier.load(tmp_path).logits(X), given(built, X), rtol=1e-4, atol=1e-6)


def test_the_source_of_registered_layers_counts_as_a_file_of_the_target(tmp_path: Path) -> None:
    """Otherwise results of a former version of the layer would be taken from the store."""
    model(tmp_path / "own_source", "ownsource").save(path := tmp_path / "model.keras")
    assert list(Saved(dataset=DATASET, path=str(path)).files()) == [path, tmp_path / "own_source" / "layers.py"]


def test_layers_of_keras_2_are_known_by_their_registered_names(tmp_path: Path) -> None:
    model(tmp_path / "own_former", "ownformer")
    layers = [
        {"class_name": "ownformer>Gain", "config": {"name": "g", "by": 5.0, "batch_input_shape": [None, 4, 4, 1]}},
        {"class_name": "Flatten", "config": {"name": "f"}},
        {"class_name": "Dense", "config": {"name": "d", "units": 3, "use_bias": False, "activation": "ownformer>cube"}},
    ]
    kernel = np.random.default_rng(1).normal(size=(16, 3)).astype(np.float32)
    with h5py.File(path := tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": layers})
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [b"g", b"d"]
        for name, weight in (("g", np.array([0.5], np.float32)), ("d", kernel)):
            root.create_group(name).attrs["weight_names"] = [b"w"]
            root[name]["w"] = weight
    assert list(ModelFile(path).faults()) == []
    np.testing.assert_allclose(given(ModelFile(path).load(), X), (2.5 * X.reshape(3, 16) @ kernel) ** 3, rtol=1e-4)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_what_is_not_registered_is_refused_with_the_two_lines_that_register_it(tmp_path: Path, suffix: str) -> None:
    package = f"lost{suffix[1:]}"
    model(tmp_path / f"own_{package}", package).save(path := tmp_path / f"model{suffix}")
    registered = backend.keras().saving.get_custom_objects()
    for name in ("Gain", "cube"):
        del registered[f"{package}>{name}"]
    said = [message for _, message in Saved(dataset=DATASET, path=str(path)).check()]
    assert len(said) == 2
    assert f"@keras.saving.register_keras_serializable(package='{package}', name='Gain')" in said[0]
    assert "definition of cube" in said[1]
    with pytest.raises(StageError, match="is not registered"):
        ModelFile(path).load()
