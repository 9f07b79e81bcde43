"""Files of Keras 2.13 and 2.15, of tf_keras and of Keras's export: the outputs are those of the program that wrote them."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.classifier import Classifier
from temper.core.errors import StageError
from temper.nn.editing.copies import copied
from temper.nn.model_files.model_file import ModelFile
from temper.nn.tensorflow_files.saved_model_folder import SavedModelFolder
from temper.system import backend
from temper.targets.models.saved import Saved
from tests.nn.model_files import write_former_keras
from tests.targets.models.support import DATASET, blank, run

ARCHIVE = Path(__file__).parent / "former_keras.tar.xz"
MEMBERS = [
    *(f"keras-2.15/{name}.h5" for name in ("ops_plus", "ops_slice", "ops_more", "ops_inputs", "depthwise", "nested", "transfer",
                                           "normal", "attention", "acts")),
    *(f"keras-2.15/{name}.keras" for name in ("ops_plus", "depthwise", "nested", "transfer", "normal", "attention", "merges")),
    "keras-2.15/nested",
    "keras-2.13/nested.keras",
    "keras-2.13/normal.keras",
    "tf_keras-2.21/transfer.keras",
    "tf_keras-2.21/nested.h5",
]  # fmt: skip
ON_TENSORFLOW = pytest.mark.skipif(backend.name() != "tensorflow", reason="TensorFlow alone computes a signature")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("former")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(place, filter="data")
    return place


def example(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path.with_suffix(".npz") if path.suffix else path.with_name(f"{path.name}.npz")) as stored:
        return stored["x"], stored["y"]


@pytest.mark.parametrize("member", MEMBERS)
def test_models_compute_what_the_program_that_wrote_them_computes(folder: Path, member: str) -> None:
    path = folder / member
    x, y = example(path)
    file = ModelFile(path)
    assert list(file.faults()) == []
    assert file.graph.input_shape == (8, 8, 3)
    assert file.graph.num_outputs in (None, 3)
    outputs = backend.keras().ops.convert_to_numpy(file.load()(x, training=False))
    np.testing.assert_allclose(outputs, y, rtol=1e-4, atol=1e-5)


def test_augmentation_is_inactive_in_a_classifier(folder: Path) -> None:
    x, y = example(folder / "keras-2.15/transfer.h5")
    component = Saved(dataset=DATASET, path=str(folder / "keras-2.15/transfer.h5"))
    logits = component.produce(run({DATASET: blank((8, 8, 3), 3)})).logits(x)
    np.testing.assert_allclose(logits - logits[:, :1], np.log(y) - np.log(y[:, :1]), rtol=1e-3, atol=1e-4)


def test_the_layers_of_nested_models_become_layers_of_the_model(folder: Path) -> None:
    model = ModelFile(folder / "keras-2.15/nested.keras").load()
    names = [layer.name for layer in model.layers]
    assert {"shared", "conv2d", "conv2d_1", "batch_normalization", "batch_normalization_1"} <= set(names)
    assert not any(isinstance(layer, backend.keras().Model) for layer in model.layers)


@pytest.mark.parametrize("suffix", [".h5", ".keras", ""])
def test_what_was_frozen_stays_frozen(folder: Path, suffix: str) -> None:
    model = ModelFile(folder / f"keras-2.15/nested{suffix}").load()
    frozen = {layer.name for layer in model.layers if layer.weights and not layer.trainable}
    assert frozen == {"conv2d_1", "batch_normalization_1"}


def test_weights_of_an_archive_that_lack_a_layer_are_refused(folder: Path, tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(folder / "keras-2.15/merges.keras") as other,
        zipfile.ZipFile(folder / "keras-2.15/depthwise.keras") as archive,
    ):
        mixed = {"config.json": archive.read("config.json"), "metadata.json": b"{}", "model.weights.h5": other.read("model.weights.h5")}  # fmt: skip
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        for name, content in mixed.items():
            archive.writestr(name, content)
    with pytest.raises(StageError, match=r"layer 'depthwise_conv2d' \(layers/depthwise_conv2d\): expected weights"):
        ModelFile(tmp_path / "m.keras").load()


@ON_TENSORFLOW
def test_a_signature_has_gradients_and_is_stored_and_copied(folder: Path, tmp_path: Path) -> None:
    x, y = example(folder / "keras-3/ops")
    component = Saved(dataset=DATASET, path=str(folder / "keras-3/ops"))
    assert list(component.check()) == []
    classifier = component.produce(one := run({DATASET: blank((8, 8, 3), 3)}))
    assert any("is one layer, the signature of its SavedModel" in remark for remark in one.remarks)
    np.testing.assert_allclose(classifier.logits(x), y, rtol=1e-4, atol=1e-5)

    labels, step = np.arange(3), np.zeros((8, 8, 3), np.float32)
    step[1, 2, 0] = 1e-2

    def losses(images: np.ndarray) -> Any:
        z = classifier.logits(images).astype(np.float64)
        return np.log(np.exp(z).sum(1)) - z[labels, labels]

    slope = (losses(x + step) - losses(x - step)) / 2e-2
    np.testing.assert_allclose(classifier.loss_gradient(x, labels)[:, 1, 2, 0], slope, rtol=2e-2, atol=1e-5)
    classifier.save(tmp_path)
    again = Classifier(copied(Classifier.load(tmp_path).model))
    np.testing.assert_allclose(again.logits(x), y, rtol=1e-4, atol=1e-5)


def test_another_backend_is_told_what_computes_a_signature(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    ((field, said),) = ModelFile(folder / "keras-3/ops").faults()
    assert field == "path"
    assert "only TensorFlow computes it" in said


def field(number: int, content: bytes | str) -> bytes:
    """Return a field of a protocol buffer of fewer than 16,384 bytes."""
    data = content.encode() if isinstance(content, str) else content
    return bytes([number << 3 | 2, len(data) & 127 | 128, len(data) >> 7]) + data


def node(operator: str, calls: str = "") -> bytes:
    return (
        field(1, "n")
        + field(2, operator)
        + (field(5, field(1, "f") + field(2, field(10, field(1, calls)))) if calls else b"")
    )


def saved_model(
    place: Path,
    outermost: bytes = b"",
    functions: Mapping[str, bytes] | None = None,
    objects: bytes = b"objects",
    graphs: int = 1,
) -> Path:
    """Write the graph of a SavedModel: an outermost node, functions of one node each, and the names of objects."""
    library = b"".join(
        field(1, field(1, field(1, name)) + field(3, content)) for name, content in (functions or {}).items()
    )
    graph = (field(1, outermost) if outermost else b"") + field(2, library)
    side, known = b"\x12\x02\x08\x08", field(2, b"\x08\x03")
    batch = field(2, b"\x08" + b"\xff" * 9 + b"\x01")
    image, scores = (field(1, "x") + field(2, field(3, batch + sides)) for sides in (side * 2 + known, known))
    signature = field(1, "serving_default") + field(2, field(1, image) + field(2, scores))
    (place / "variables").mkdir(parents=True)
    (place / "saved_model.pb").write_bytes(
        b"\x08\x01" + field(2, field(2, graph) + field(5, signature) + field(7, objects)) * graphs
    )
    return place


SAVER = "__inference__traced_save_1"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"outermost": node("MatMul"), "functions": {"f": node("Relu"), SAVER: node("SaveV2")}}, ""),
        ({"outermost": node("StatefulPartitionedCall", SAVER), "functions": {SAVER: node("SaveV2")}}, ""),
        ({"outermost": node("ReadFile")}, "contains the operator ReadFile, which is outside the closed list"),
        ({"outermost": node("SaveV2")}, "contains the operator SaveV2"),
        *(({"functions": {"f": node(name)}}, f"contains the operator {name}") for name in
          ("ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "MatchingFiles", "RestoreV2", "Print", "LoadLibrary", "XlaLaunch", "")),
        ({"functions": {SAVER: node("WriteFile")}}, "contains the operator WriteFile"),
        ({"functions": {"f": node("PartitionedCall", SAVER), SAVER: node("SaveV2")}}, "reads or writes files"),
        ({"functions": {SAVER: node("SaveV2")}, "objects": SAVER.encode()}, "reads or writes files"),
        ({"objects": b""}, "is a SavedModel of TensorFlow 1"),
        ({"graphs": 2}, "expected one graph, received 2"),
    ],
)  # fmt: skip
def test_graphs_that_do_more_than_compute_are_refused_before_tensorflow_sees_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Any, message: str
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    found = list(ModelFile(saved_model(tmp_path / "model", **model)).faults())
    assert [field for field, _ in found] == ["path"] * bool(message)
    assert message in "".join(said for _, said in found)
    if not message:
        graph = SavedModelFolder(tmp_path / "model").graph
        assert (graph.input_shape, graph.num_outputs) == ((8, 8, 3), 3)


def _link(place: Path) -> None:
    (place / "variables" / "variables.index").unlink()
    (place / "variables" / "variables.index").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_link, "is a link, which is never followed"),
        (lambda place: (place / "saved_model.cpb").write_bytes(b""), "saved_model.cpb: expected saved_model.pb"),
        (lambda place: (place / "saved_model.pbtxt").write_bytes(b""), "saved_model.pbtxt: expected saved_model.pb"),
        (lambda place: (place / "code").mkdir(), "expected the folders variables and assets alone"),
        (lambda place: (place / "saved_model.pb").unlink(), "expected a SavedModel folder with saved_model.pb"),
        (lambda place: (place / "saved_model.pb").write_bytes(b""), "expected one graph, received 0"),
        (lambda place: (place / "saved_model.pb").write_bytes(b"\xff" * 50), "expected a message of Protocol Buffers"),
        (lambda place: (place / "saved_model.pb").write_bytes((place / "saved_model.pb").read_bytes()[:3000]), "Protocol Buffers"),
    ],
)  # fmt: skip
def test_other_folders_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, message: str
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    shutil.copytree(folder / "keras-3/ops", place := tmp_path / "model")
    change(place)
    ((field, said),) = Saved(dataset=DATASET, path=str(place)).check()
    assert field == "path"
    assert message in said
    assert said.startswith(str(place))


@ON_TENSORFLOW
def test_variables_that_are_cut_short_are_refused(folder: Path, tmp_path: Path) -> None:
    for member in ("keras-2.15/nested", "keras-3/ops"):
        shutil.copytree(folder / member, place := tmp_path / Path(member).name)
        for data in (place / "variables").iterdir():
            data.write_bytes(data.read_bytes()[:40])
        with pytest.raises(StageError, match="corrupted"):
            ModelFile(place).load()


def test_the_script_that_wrote_the_models_names_them_all() -> None:
    written = write_former_keras.builders(_Anything(), _Anything())
    assert {Path(member).stem for member in MEMBERS} <= set(written)


class _Anything:
    def __getattr__(self, name: str) -> Any:
        return _Anything()


def test_configurations_of_saved_models_have_lists_for_tuples(folder: Path) -> None:
    config = SavedModelFolder(folder / "keras-2.15/nested").keras_config
    assert config is not None
    assert "__tuple__" not in json.dumps(config)
