"""Programs of ``torch.export.save``: a zip archive with a graph in JSON and raw weights, read without running code of the file."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from temper.core.errors import StageError
from temper.nn.pytorch.program_text import problems
from temper.system.files import opened, unpacks_to_too_much
from temper.system.zip_member import member_problem

SUFFIX = ".pt2"
MAX_PROGRAM, MAX_MEMBERS = 64 * 2**20, 20_000
_PROGRAM, _SAMPLES = "models/model.json", "data/sample_inputs/model.pt"
_TABLES = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_TENSORS = ("data/weights/weight_", "data/constants/tensor_")
_MARKS = ("archive_format", "archive_version", ".data/version", "version", "byteorder", ".data/serialization_id",
          ".format_version", ".storage_alignment")  # fmt: skip
_LAST_VALUE = 8
"""Bytes of the largest number of a tensor."""
_KEPT_METADATA = ("nn_module_stack",)
"""What names the layers; the rest of a node's metadata is dropped unread."""


def program_of(path: Path) -> Mapping[str, Any]:
    """Return the graph of a file as JSON after all checks, without importing torch.

    Raises:
        StageError: the file cannot be read, is too large, has parts that may run code, or operators that are in no list.
    """
    with _read(path) as (program, _, _):
        return program


def load(path: Path) -> Any:
    """Return the ``torch.export.ExportedProgram`` of a file.

    Raises:
        StageError: see ``program_of``; or torch cannot load it.
    """
    import torch

    with _read(path) as (program, archive, names):
        samples, checked = archive.read(names[_SAMPLES]), _rebuilt(archive, names, program)
    try:
        # torch falls back to a full unpickling where this fails.
        torch.load(io.BytesIO(samples), weights_only=True)
        loaded = torch.export.load(checked)
    except MemoryError:
        raise
    except Exception as error:  # torch raises all kinds of errors on a corrupted file
        reason = str(error).strip().partition("\n")[0][:200]
        raise StageError(
            f"{path}: PyTorch {torch.__version__} cannot load it ({reason}); it was written by {program.get('torch_version')}: "
            "export it again with the installed version, or as ONNX"
        ) from error
    return loaded


@contextmanager
def _read(path: Path) -> Iterator[tuple[Mapping[str, Any], zipfile.ZipFile, Mapping[str, zipfile.ZipInfo]]]:
    """Open a file; yield its checked program, the archive and its members by name."""
    try:
        with opened(path) as stream, zipfile.ZipFile(stream) as archive:
            names = _names(path, archive)
            program = _clean(json.loads(archive.read(names[_PROGRAM])))
            tables = [json.loads(archive.read(names[name])) for name in _TABLES]
            if text := next(problems([program, *tables]), "") or _table_problem(path, tables):
                raise StageError(f"{path}: {text}; export the model as ONNX instead: torch.onnx.export")
            yield program, archive, names
    except (StageError, MemoryError):
        raise
    except Exception as error:  # zipfile and json raise all kinds of errors on a corrupted file
        raise StageError(f"{path}: cannot be read as a .pt2 archive ({error}); the file is corrupted") from error


def _names(path: Path, archive: zipfile.ZipFile) -> Mapping[str, zipfile.ZipInfo]:
    """Return the members of an archive by their name below its only folder."""
    members: dict[str, zipfile.ZipInfo] = {}
    folders = set()
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise StageError(f"{path}: expected at most {MAX_MEMBERS:,} members, received {len(infos):,}")
    for info in infos:
        folder, _, name = info.filename.partition("/")
        folders.add(folder)
        if name not in (_PROGRAM, _SAMPLES, *_TABLES, *_MARKS) and not name.startswith(_TENSORS):
            raise StageError(
                f"{path}: {info.filename[:80]!r} is no part of a model that torch.export.save writes (compiled code and objects are "
                "refused); files of torch before 2.8 have other parts: export the model again, or as ONNX"
            )
        if name in members:
            raise StageError(f"{path}: contains {name} twice")
        if fault := member_problem(info):
            raise StageError(f"{path}: {fault}; export the model again")
        if name.endswith(".json") and info.file_size > MAX_PROGRAM:
            raise StageError(f"{path}: {name} has {info.file_size:,} bytes; expected at most {MAX_PROGRAM:,}")
        members[name] = info
    if missing := [name for name in (_PROGRAM, _SAMPLES, *_TABLES) if name not in members]:
        raise StageError(f"{path}: contains no {missing[0]}; expected a file of torch.export.save")
    if len(folders) != 1:
        raise StageError(f"{path}: expected one folder, received {len(folders)}")
    if fault := unpacks_to_too_much(path.stat().st_size, sum(info.file_size for info in members.values())):
        raise StageError(f"{path}: {fault}")
    return members


def _clean(program: Any) -> Any:
    """Return a program without the text that nothing needs."""
    graph = program["graph_module"]
    graph["metadata"] = {}
    for node in graph["graph"]["nodes"]:
        node["metadata"] = {key: value for key, value in (node["metadata"] or {}).items() if key in _KEPT_METADATA}
    program["guards_code"] = []  # Python text for `ExportedProgram.module`
    return program


def _table_problem(path: Path, tables: list[Any]) -> str:
    values = 0
    for table in tables:
        for name, entry in table["config"].items():
            if entry.get("use_pickle") or not entry["path_name"].startswith(("weight_", "tensor_")):
                return f"'{name[:80]}' is pickled, and unpickling runs code"
            values += math.prod(int(side["as_int"]) for side in entry["tensor_meta"]["sizes"])
    return unpacks_to_too_much(path.stat().st_size, _LAST_VALUE * values)


def _rebuilt(archive: zipfile.ZipFile, names: Mapping[str, zipfile.ZipInfo], program: Any) -> io.BytesIO:
    """Return an archive of what was checked only, since torch reads zip files by a parser of its own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as copy:
        for name, info in names.items():
            data = json.dumps(program).encode() if name == _PROGRAM else archive.read(info)
            copy.writestr(f"archive/{name}", data)
    buffer.seek(0)
    return buffer
