"""Model files of others: nothing but the file itself is read, within limits, and what is wrong is told with its path."""

from __future__ import annotations

import contextlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from temper.core.errors import StageError
from temper.nn.model_files import hdf5_weights, untrusted_files
from temper.nn.model_files.untrusted_files import MAX_CONFIG
from temper.targets.models.dense import Dense
from temper.targets.models.saved import Saved
from tests.targets.models.support import DATASET, blank, run, write_legacy

KERNEL = np.arange(12, dtype=np.float32).reshape(4, 3) / 10


def of_keras(kind: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}


def configuration(*layers: Any) -> dict[str, Any]:
    """Return the configuration of a chain from 2x2 grey images to three outputs, as Keras 3 writes it."""
    ours = layers or (of_keras("Flatten", name="flatten"), of_keras("Dense", name="dense", units=3, use_bias=False))
    first = of_keras("InputLayer", batch_shape=[None, 2, 2, 1], dtype="float32", name="input")
    config = {"name": "chain", "trainable": True, "layers": [first, *ours]}
    return {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": "Sequential"}


def stored(fill: Callable[[h5py.File], object] = lambda _: None) -> bytes:
    """Return the weights of that chain, to which a function adds what it likes."""
    with h5py.File(content := BytesIO(), "w") as file:
        file["layers/dense/vars/0"] = KERNEL
        file.create_group("layers/flatten/vars")
        fill(file)
    return content.getvalue()


def archive(path: Path, **members: bytes | str) -> Path:
    files: dict[str, bytes | str] = {
        "metadata.json": "{}", "config.json": json.dumps(configuration()), "model.weights.h5": stored()
    }  # fmt: skip
    files |= {name.replace("__", "."): content for name, content in members.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if "deflated" in path.name else zipfile.ZIP_STORED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def legacy(path: Path, fill: Callable[[h5py.File], object]) -> Path:
    layers = [{"class_name": "Flatten", "config": {"name": "f", "batch_input_shape": [None, 2, 2, 1]}},
              {"class_name": "Dense", "config": {"name": "d", "units": 3, "use_bias": False}}]  # fmt: skip
    write_legacy(path, [("d", [KERNEL])], {"class_name": "Sequential", "config": {"layers": layers}})
    with h5py.File(path, "a") as file:
        fill(file)
    return path


def said(path: Path, **fields: Any) -> str:
    """Return what a plan says of a model, which a run must not get past either."""
    component = Saved(dataset=DATASET, path=str(path), **fields)
    found = [message for _, message in component.check()]
    if found:
        with pytest.raises(StageError):
            component.produce(run({DATASET: blank((2, 2, 1), 3)}))
    return "\n".join(found)


def other_file(folder: Path) -> Path:
    with h5py.File(folder / "secret.h5", "w") as file:
        file["kernel"] = KERNEL
    return folder / "secret.h5"


def link(folder: Path) -> Callable[[h5py.File], None]:
    return lambda file: file.__setitem__("stolen", h5py.ExternalLink(str(other_file(folder)), "/kernel"))


def deep_link(folder: Path) -> Callable[[h5py.File], None]:
    return lambda file: file.__setitem__("a/b/c", h5py.ExternalLink(str(other_file(folder)), "/"))


def virtual(folder: Path) -> Callable[[h5py.File], None]:
    def fill(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4, 3), np.float32)
        layout[:] = h5py.VirtualSource(str(other_file(folder)), "kernel", (4, 3))
        file.create_virtual_dataset("stolen", layout)

    return fill


def external(_: Path) -> Callable[[h5py.File], None]:
    return lambda file: file.create_dataset("stolen", (12,), "u1", external=[("/etc/passwd", 0, 12)])


def huge(_: Path) -> Callable[[h5py.File], None]:
    return lambda file: file.create_dataset("huge", (10**9, 10**6), np.float32, chunks=(1024, 1024))


def plug_in(_: Path) -> Callable[[h5py.File], None]:
    def fill(file: h5py.File) -> None:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((4,))
        properties.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)
        h5py.h5d.create(file.id, b"packed", h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple((4,)), properties)

    return fill


def large_chunk(_: Path) -> Callable[[h5py.File], None]:
    """Return what writes an array of ten values whose one chunk unpacks to 256 MiB."""

    def fill(file: h5py.File) -> None:
        array = file.create_dataset("chunked", (10,), "u1", maxshape=(None,), chunks=(2**28,), compression="gzip")
        array.id.write_direct_chunk((0,), zlib.compress(bytes(10)))

    return fill


HOSTILE = [
    (link, "stolen is a link into another file"),
    (deep_link, "a/b/c is a link into another file"),
    (virtual, "stolen is a virtual array"),
    (external, "stolen keeps its values in another file (/etc/passwd)"),
    (huge, "unpack to 4,000,000,000,000,0"),
    (large_chunk, "unpack to 268,435,"),
    (plug_in, "packed is compressed by plug-in 32015 of HDF5"),
]


@pytest.mark.parametrize(("make", "message"), HOSTILE)
@pytest.mark.parametrize("name", ["m.h5", "m.keras", "deflated.keras"])
def test_a_model_refers_to_no_other_file(tmp_path: Path, make: Any, message: str, name: str) -> None:
    fill = make(tmp_path)
    path = tmp_path / name
    if name.endswith(".h5"):
        legacy(path, fill)
    else:
        archive(path, model__weights__h5=stored(fill))
    text = said(path)
    assert text.startswith(str(path))
    assert message in text


@pytest.mark.parametrize(("make", "message"), HOSTILE)
def test_neither_do_weights(tmp_path: Path, make: Any, message: str) -> None:
    for path, old in ((tmp_path / "new.weights.h5", False), (tmp_path / "old.h5", True)):
        if old:
            legacy(path, make(tmp_path))
        else:
            path.write_bytes(stored(make(tmp_path)))
        target = Dense(dataset=DATASET, layers=1, units=3, epochs=0, initial_weights=str(path))
        with pytest.raises(StageError) as caught:
            target.produce(run({DATASET: blank((2, 2, 1), 3)}))
        assert message in str(caught.value)
        with pytest.raises(StageError, match=r"secret|passwd|virtual|unpack|plug-in"):
            hdf5_weights.by_layer(path)


def repeated_text(file: h5py.File) -> None:
    """Write 1,000 texts of 1 MiB which are one text in the file."""
    texts = np.array(["x" * 2**20] + ["y"] * 1000, object)
    file.create_dataset("texts", data=texts, dtype=h5py.string_dtype())


def refer_to_the_first(content: bytes) -> bytes:
    with h5py.File(BytesIO(content)) as file:
        start = file["texts"].id.get_offset()
    return content[:start] + content[start : start + 16] * 1001 + content[start + 1001 * 16 :]


def inflated(file: h5py.File) -> None:
    """Write a chunk of 64 KiB that is packed as 256 MiB of zeros."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(2**24)) for _ in range(16)) + packer.flush()
    file.create_dataset("packed", (2**16,), "u1", chunks=(2**16,), compression="gzip").id.write_direct_chunk(
        (0,), packed
    )


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "deflated.keras"])
@pytest.mark.parametrize(("fill", "change"), [(repeated_text, refer_to_the_first), (inflated, bytes)])
def test_what_only_shows_when_it_is_read_is_read_within_a_limit_of_memory(
    tmp_path: Path, name: str, fill: Callable[[h5py.File], None], change: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / name
    if name.endswith(".h5"):
        path.write_bytes(change(legacy(path, fill).read_bytes()))
    else:
        archive(path, model__weights__h5=change(stored(fill)))
    assert re.match(rf"{path}: cannot be read as HDF5 .*(memory allocation|filter re)", said(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5"])
def test_a_member_whose_unpacking_does_not_stop_is_refused(tmp_path: Path, method: int, name: str) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as file:
        for member, content in (("metadata.json", b"{}"), ("config.json", b"{}"), ("model.weights.h5", stored())):
            file.writestr(member, content, method if member == name else zipfile.ZIP_STORED)
    assert f"'{name}' is compressed by method {method}, expected stored or deflated members" in said(path)


def test_links_within_the_file_are_no_matter(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file["soft"] = h5py.SoftLink("/soft")
        file["round"] = file["/"]

    assert said(legacy(tmp_path / "m.h5", fill)) == ""
    assert said(archive(tmp_path / "m.keras", model__weights__h5=stored(fill))) == ""
    assert said(archive(tmp_path / "deflated.keras")) == ""


def test_a_large_configuration_is_not_unpacked(tmp_path: Path) -> None:
    path = archive(tmp_path / "deflated.keras", config__json=b" " * (MAX_CONFIG + 1))
    assert path.stat().st_size < MAX_CONFIG / 100
    assert "config.json has 8,388,609 bytes; expected at most 8,388,608" in said(path)
    (tmp_path / "a.json").write_bytes(b" " * (MAX_CONFIG + 1))
    text = said(legacy(tmp_path / "m.h5", lambda _: None), architecture=str(tmp_path / "a.json"))
    assert "8,388,609 bytes; expected at most 8,388,608" in text


def test_a_bomb_of_weights_is_not_unpacked(tmp_path: Path) -> None:
    assert "unpack to" in said(archive(tmp_path / "deflated.keras", model__weights__h5=bytes(90 * 2**20)))


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "assets/../../x", "assets/a", "C:\\x", "config.json/"])
def test_other_members_are_refused(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "m.keras")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, "x")
    assert "expected config.json, metadata.json, model.weights.h5 alone, received" in said(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_a_member_twice_is_refused(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "m.keras")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, "x")
    assert f"contains {name} twice" in said(path)


NESTED = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (of_keras("Dense") | {"config": "eval"}, "layer 2 (Dense): expected its options as a mapping, received 'eval'"),
        (of_keras("Dense") | {"config": None}, "layer 2 (Dense): expected its options as a mapping, received None"),
        ("eval", "layer 2: expected a mapping with a class_name, received 'eval'"),
        (None, "layer 2: expected a mapping with a class_name, received None"),
        (of_keras("Dense", name="d", units={"a": 1}), "units: expected an integer of at least 1, received {'a': 1}"),
        (of_keras("Dense", name="d", units="many"), "units: expected an integer of at least 1, received 'many'"),
        (of_keras("Dense", name="d", units=-3), "units: expected an integer of at least 1, received -3"),
        (of_keras("Dense", name={}, units=3), "expected its name as text, received {}"),
        (of_keras("Dense", name="d", units=10**11), "at least 100,000,000,000 weights, far more than the file"),
        (of_keras("Conv2D", name="c", filters=9, kernel_size=[10**6, 10**6]), "far more than the file"),
        (of_keras("Dense", name="d", units=9) | {"build_config": {"input_shape": [None, 10**12]}}, "far more than"),
        (of_keras("Dense", name="d", units=3, deep=json.loads("[" * 150 + "]" * 150)), "more than 100 levels deep"),
        (of_keras("Dense", name="d", units=3, bias_initializer={"module": ["os"], "class_name": "x"}), "not a supported layer"),
    ],
)  # fmt: skip
def test_a_layer_that_is_none_is_told(tmp_path: Path, layer: Any, message: str) -> None:
    text = said(archive(tmp_path / "m.keras", config__json=json.dumps(configuration(layer))))
    assert text.startswith(str(tmp_path / "m.keras"))
    assert message in text


@pytest.mark.parametrize(
    "config",
    [NESTED, '{"a":' * 100_000, "[]", "7", "", "nul", "\xff", json.dumps({"class_name": {}, "config": {}}),
     json.dumps({"class_name": "Sequential", "config": {"layers": 7}}),
     json.dumps({"class_name": "Sequential", "config": {"layers": []}}),
     json.dumps({"class_name": "Functional", "config": {"layers": [], "input_layers": 3, "output_layers": {}}}),
     json.dumps({"class_name": "Functional", "config": {"layers": [], "input_layers": [[[]]], "output_layers": [[[]]]}}),
     json.dumps({"class_name": "Sequential", "config": {"layers": [of_keras("InputLayer", batch_shape=[None, "a", {}])]}}),
     json.dumps({"class_name": "Sequential", "config": {"layers": [of_keras("InputLayer", batch_shape=7)]}})],
)  # fmt: skip
def test_a_configuration_that_is_none_is_told(tmp_path: Path, config: str) -> None:
    (tmp_path / "a.json").write_text(config, encoding="latin-1")
    path = legacy(tmp_path / "m.h5", lambda file: file.attrs.__delitem__("model_config"))
    assert said(path, architecture=str(tmp_path / "a.json")).startswith(str(tmp_path / "a.json"))
    path = archive(tmp_path / "m.keras", config__json=config.encode("latin-1"))
    assert said(path).startswith(str(path))


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "deflated.keras"])
@pytest.mark.parametrize("length", [0, 10, 60, 700, -1000, -30])
def test_a_file_that_is_cut_short_is_told(tmp_path: Path, name: str, length: int) -> None:
    path = legacy(tmp_path / name, lambda _: None) if name.endswith("h5") else archive(tmp_path / name)
    path.write_bytes(path.read_bytes()[:length])
    assert said(path).startswith(str(path))


@pytest.mark.parametrize("name", ["m.h5", "m.keras"])
def test_a_pipe_or_device_is_no_model(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert "expected a regular file, received a named pipe" in said(tmp_path / name)
    (tmp_path / f"zero{name}").symlink_to("/dev/zero")
    assert "expected a regular file, received a device" in said(tmp_path / f"zero{name}")
    target = Dense(dataset=DATASET, layers=1, units=3, epochs=0, initial_weights=str(tmp_path / name))
    with pytest.raises(StageError, match="received a named pipe"):
        target.produce(run({DATASET: blank((2, 2, 1), 3)}))


def test_what_keras_says_of_a_damaged_model_comes_with_its_path(tmp_path: Path) -> None:
    wrong = [configuration(of_keras("Flatten"), of_keras("Dense", units=3, activation="eval")),
             configuration(of_keras("Flatten"), of_keras("Dense", units=4, use_bias=False)),
             configuration(of_keras("Reshape", target_shape=[7, 7]))]  # fmt: skip
    for config in wrong:
        path = archive(tmp_path / "m.keras", config__json=json.dumps(config))
        with pytest.raises(StageError, match=r"m\.keras: Keras cannot load it") as raised:
            Saved(dataset=DATASET, path=str(path))._file.load()
        assert "could not be deserialized" not in str(raised.value), "the reason, not what it is wrapped in"


def test_a_layer_that_makes_too_much_of_an_image_is_refused(tmp_path: Path) -> None:
    grows = [of_keras("UpSampling2D", size=[10**5, 10**5]), of_keras("GlobalAveragePooling2D")]
    with h5py.File(content := BytesIO(), "w") as file:
        file.create_group("layers")
    config = json.dumps(configuration(*grows))
    path = archive(tmp_path / "m.keras", config__json=config, model__weights__h5=content.getvalue())
    with pytest.raises(StageError, match="outputs 40,000,000,000 values for one image; expected at most 268,435,456"):
        Saved(dataset=DATASET, path=str(path))._file.load()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"HDF5 crashes on it \(signal 11\)"),
        ("while True: pass", "HDF5 does not finish reading it in 1 s"),
    ],
)
def test_a_parser_that_crashes_or_hangs_does_so_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    monkeypatch.setattr(untrusted_files, "_SECONDS", 1)
    monkeypatch.setattr(untrusted_files, "_SCRIPT", script)
    for path in (legacy(tmp_path / "m.h5", lambda _: None), archive(tmp_path / "m.keras")):
        with pytest.raises(StageError, match=rf"{path.name}: {message}; the file is corrupted"):
            untrusted_files.hdf5(path).__enter__() if path.suffix == ".h5" else untrusted_files.archived_configuration(
                path
            )


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import os, sys; sys.exit(os.getsid(0) != os.getpid())", ""),  # Ctrl-C for the runner does not reach it
        ("import os; print('x.h5: is wrong', end='')", "x.h5: is wrong"),
        ("raise OSError('no')", "exited with code 1 (OSError: no); the file is corrupted"),
    ],
)
def test_what_that_process_finds_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    monkeypatch.setattr(untrusted_files, "_SCRIPT", script)
    text = said(legacy(tmp_path / "m.h5", lambda _: None))
    assert message in text
    assert bool(message) == bool(text)


def test_what_is_imported_is_not_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model is looked at by a process of its own, which must not run code that lies beside the model."""
    (tmp_path / "h5py.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)
    assert said(archive(tmp_path / "m.keras")) == ""
    assert not (tmp_path / "ran").exists()


def test_one_flipped_bit_is_read_or_told(tmp_path: Path) -> None:
    path = legacy(tmp_path / "m.h5", lambda _: None)
    content = path.read_bytes()
    for at in range(0, 96, 3):  # the superblock and the root's header
        path.write_bytes(content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :])
        with contextlib.suppress(StageError):
            hdf5_weights.by_layer(path)
