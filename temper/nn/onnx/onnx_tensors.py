"""Reads the tensors of an ONNX file into arrays, within limits; external data only from the file's own folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.errors import StageError
from temper.system.files import opened, regular

Array = NDArray[Any]

MAX_TENSOR = 2**31
"""Maximum number of bytes of one tensor, once unpacked."""
_MAX_RANK = 16
_EXTERNAL = 1
"""``TensorProto.EXTERNAL``."""


def declared_bytes(tensor: Any) -> int:
    """Return the number of bytes that a tensor takes as an array, from its declared shape and type.

    Raises:
        StageError: the shape or the type is outside the limits.
    """
    shape = tuple(tensor.dims)
    if len(shape) > _MAX_RANK or any(side < 0 for side in shape):
        raise StageError(f"tensor '{tensor.name}': expected at most {_MAX_RANK} sides of at least 0, received {shape}")
    size: int = math.prod(shape) * _dtype(tensor).itemsize
    if size > MAX_TENSOR:
        raise StageError(f"tensor '{tensor.name}' of shape {shape} has {size:,} bytes; expected at most {MAX_TENSOR:,}")
    return size


def external_file(tensor: Any, model: Path) -> Path | None:
    """Return the file that holds a tensor's values, or ``None`` if they are in the model's file.

    Raises:
        StageError: that file is outside the model's folder.
    """
    if tensor.data_location != _EXTERNAL:
        return None
    location = _entries(tensor).get("location", "")
    folder, path = model.parent.resolve(), model.parent / location
    if not location or Path(location).is_absolute() or ".." in Path(location).parts:
        raise StageError(
            f"tensor '{tensor.name}': expected external data in the model's folder, received the path {location!r}"
        )
    if not regular(path).resolve().is_relative_to(folder):
        raise StageError(
            f"tensor '{tensor.name}': its external data {location!r} is a link out of the model's folder, which is "
            "never followed; copy the file"
        )
    return path


def array_of(tensor: Any, model: Path) -> Array:
    """Return the values of a tensor; half-precision values as float32.

    Raises:
        StageError: they cannot be read, or there are more or fewer than the shape states.
    """
    size, shape = declared_bytes(tensor), tuple(tensor.dims)
    raw = _external(tensor, path, size) if (path := external_file(tensor, model)) is not None else tensor.raw_data
    if path is not None or tensor.HasField("raw_data"):
        if len(raw) != size:
            raise StageError(f"tensor '{tensor.name}' of shape {shape}: expected {size:,} bytes, received {len(raw):,}")
        array = np.frombuffer(raw, _dtype(tensor).newbyteorder("<")).reshape(shape)
    else:
        array = _typed(tensor, shape)
    return array.astype(np.float32) if array.dtype.itemsize == 2 and array.dtype.kind not in "iu" else array


def is_half(tensor: Any) -> bool:
    """Return whether a tensor holds half-precision values."""
    import onnx

    return tensor.data_type in (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


def _typed(tensor: Any, shape: tuple[int, ...]) -> Array:
    """Return values that are stored in a field for their type instead of as bytes."""
    import onnx

    fields = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    count, expected = max(map(len, fields)), math.prod(shape)
    if count != expected:
        raise StageError(f"tensor '{tensor.name}' of shape {shape}: expected {expected:,} values, received {count:,}")
    array: Array = onnx.numpy_helper.to_array(tensor)
    return array


def _external(tensor: Any, path: Path, size: int) -> bytes:
    entries = _entries(tensor)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
    except ValueError:
        raise StageError(f"tensor '{tensor.name}': the place of its external data is no number") from None
    available = path.stat().st_size
    if offset < 0 or length != size or offset + length > available:
        raise StageError(
            f"tensor '{tensor.name}': expected {size:,} bytes at {offset:,} of {path}, which has {available:,} bytes "
            f"(stated: {length:,}); the file is truncated or belongs to another model"
        )
    with opened(path) as stream:
        stream.seek(offset)
        return stream.read(size)


def _entries(tensor: Any) -> Mapping[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _dtype(tensor: Any) -> np.dtype[Any]:
    import onnx

    kinds = onnx.TensorProto
    if tensor.data_type == kinds.BFLOAT16:
        import ml_dtypes

        half: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return half
    known = {
        kinds.FLOAT: np.float32, kinds.DOUBLE: np.float64, kinds.FLOAT16: np.float16, kinds.BOOL: np.bool_,
        kinds.INT8: np.int8, kinds.INT16: np.int16, kinds.INT32: np.int32, kinds.INT64: np.int64,
        kinds.UINT8: np.uint8, kinds.UINT16: np.uint16, kinds.UINT32: np.uint32, kinds.UINT64: np.uint64,
    }  # fmt: skip
    if tensor.data_type not in known:
        raise StageError(f"tensor '{tensor.name}': expected numbers, received the ONNX type {tensor.data_type}")
    found: np.dtype[Any] = np.dtype(known[tensor.data_type])
    return found
