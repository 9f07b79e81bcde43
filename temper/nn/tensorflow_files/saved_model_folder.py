"""TensorFlow SavedModel folders: what is in them, read without TensorFlow, and whether their graph only computes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from temper.core.errors import StageError
from temper.nn.model_files import untrusted_files
from temper.nn.model_files.layer_graph import Call, LayerGraph, Node, Reference, Shape
from temper.nn.tensorflow_files.graph_operators import PURE, SAVING
from temper.nn.tensorflow_files.protobuf_wire import fields, inner, text
from temper.nn.tensorflow_files.signature_layer import SIGNATURE
from temper.system.files import read_bytes, regular

GRAPH = "saved_model.pb"
_METADATA = "keras_metadata.pb"
_MEMBERS = (GRAPH, _METADATA, "fingerprint.pb", "variables/variables.index")
_DATA = re.compile(r"variables/variables\.data-\d{5}-of-\d{5}")
_MAX_GRAPH = 2**31
"""Maximum size of a message of Protocol Buffers in bytes."""
_SAVER = re.compile(r"__inference__traced_(save|restore)_\d+")


class SavedModelFolder:
    """A SavedModel of TensorFlow 2 on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check_members(self) -> None:
        """Check that the folder holds the regular files of a SavedModel alone.

        Raises:
            StageError: there is another file, a link, or a file is missing.
        """
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if path.is_symlink():
                raise StageError(f"{path}: is a link, which is never followed; copy the file to its place")
            if path.is_dir():
                if name not in ("variables", "assets"):
                    raise StageError(f"{path}: expected the folders variables and assets alone; remove it")
            elif name in _MEMBERS or _DATA.fullmatch(name):
                regular(path)
            else:
                raise StageError(f"{path}: expected {', '.join(_MEMBERS)} and the variables' data alone; remove it")
        if not (self.path / GRAPH).is_file():
            raise StageError(
                f"{self.path}: expected a SavedModel folder with {GRAPH}; name a model file or such a folder"
            )

    @cached_property
    def keras_config(self) -> Mapping[str, Any] | None:
        """The configuration of the model that Keras 2 saved, ``None`` if another program did.

        Raises:
            StageError: it is corrupted.
        """
        path = self.path / _METADATA
        if not path.exists():
            return None
        try:
            for saved in inner(read_bytes(path, _MAX_GRAPH), 1):
                if text(saved, 3) == "root":
                    config: Mapping[str, Any] = _listed(untrusted_files.parsed(text(saved, 5), path))
                    return config
        except ValueError as error:
            raise StageError(f"{path}: {error}; the file is corrupted") from None
        return None

    @cached_property
    def graph(self) -> LayerGraph:
        """The input and the output of the model's signature, as a graph of one layer.

        Raises:
            StageError: there is no such signature with one input and one output, or the file is corrupted.
        """
        try:
            for entry in inner(self._meta_graph, 5):
                if text(entry, 1) == SIGNATURE:
                    (given,), (output,) = ([_shape(i) for i in inner(entry, 2, n, 2)] for n in (1, 2))
                    layer = Node("SavedModel", "graph", {"units": output[-1]}, (Call((Reference("input"),), {}),))
                    return LayerGraph((layer,), "input", given[1:], Reference("graph"))
        except (ValueError, IndexError) as error:
            raise StageError(
                f"{self.path / GRAPH}: expected one input and one output of known rank ({error})"
            ) from None
        raise StageError(
            f"{self.path / GRAPH}: contains no signature {SIGNATURE}; export the model again with model.export"
        )

    def faults(self) -> Iterator[str]:
        """Yield why the graph is not loaded: TensorFlow would do more than compute with it.

        Raises:
            StageError: the file is corrupted.
        """
        try:
            yield from dict.fromkeys(self._faults())
        except ValueError as error:
            raise StageError(f"{self.path / GRAPH}: {error}; the file is corrupted") from None

    def _faults(self) -> Iterator[str]:
        objects = [bytes(value) for value in inner(self._meta_graph, 7)]
        if not any(objects):
            yield "is a SavedModel of TensorFlow 1, whose loading runs its graph; export the model again with TensorFlow 2"
            return
        yield from _strange(operators(self._meta_graph, 2, 1), PURE)
        functions = [(text(f, 1, 1), f) for f in inner(self._meta_graph, 2, 2, 1)]
        for name, function in functions:
            saver = _SAVER.fullmatch(name)
            yield from _strange(operators(function, 3), PURE | SAVING if saver else PURE)
            # Savers read and write files. Nothing calls them if only the outermost graph, which is never run, names them.
            others = [bytes(other) for _, other in functions if other is not function]
            if saver and any(name.encode() in content for content in (*objects, *others)):
                yield f"calls {name}, which reads or writes files"

    @property
    def _meta_graph(self) -> memoryview:
        found = list(inner(self._content, 2))
        if len(found) != 1:
            raise ValueError(f"expected one graph, received {len(found)}")
        return found[0]

    @cached_property
    def _content(self) -> bytes:
        return read_bytes(self.path / GRAPH, _MAX_GRAPH)


def _listed(value: Any) -> Any:
    """Return a configuration with lists in place of the mappings that a SavedModel has for tuples."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__tuple__" and isinstance(value.get("items"), list):
            return [_listed(item) for item in value["items"]]
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list) else value


def operators(message: bytes | memoryview, *path: int) -> Iterator[str]:
    """Yield the names of the operators of the nodes that a path leads to.

    Raises:
        ValueError: the message is corrupted.
    """
    for node in inner(message, *path):
        yield from (bytes(name).decode("utf-8", "replace") for name in inner(node, 2))


def _strange(found: Iterator[str], known: frozenset[str]) -> Iterator[str]:
    yield from (
        f"contains the operator {name[:40]}, which is outside the closed list of mathematical operators"
        for name in found
        if name not in known
    )


def _shape(tensor: memoryview) -> Shape:
    """Return the shape in a description of a tensor, batch included."""
    sides = []
    for dimension in inner(tensor, 3, 2):
        size = next((value for number, value in fields(dimension) if number == 1), 0)
        assert isinstance(size, int)
        sides.append(size if 0 < size < 2**31 else None)
    return tuple(sides)
