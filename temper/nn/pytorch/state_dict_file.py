"""Files of PyTorch weights: state dicts as ``torch.save`` or safetensors write them. No code of the file runs."""

from __future__ import annotations

import json
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from temper.core.errors import StageError
from temper.nn.pytorch.export_advice import ADVICE, SCRIPTED
from temper.system.files import opened, regular, unpacks_to_too_much
from temper.system.zip_member import member_problem

SAFETENSORS = ".safetensors"
SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".tar", SAFETENSORS)
MAX_PICKLE = 64 * 2**20
"""Largest pickle of names and shapes, in bytes; the tensors are outside it."""
_NESTED = ("model_ema", "state_dict_ema", "ema_state_dict", "ema", "state_dict", "model_state_dict", "model", "net")
"""Keys under which training programs keep the weights, preferred ones first."""
_PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and wrappers such as Lightning's put in front of each name."""
_PLAIN = {"torch", "collections", "numpy", "_codecs", "builtins", "__builtin__"}
"""Packages whose objects a file of weights may have; ``torch.load`` has the exact list."""


def problem(path: Path) -> str:
    """Return why a file is not read, without importing torch; empty if nothing is found.

    Raises:
        StageError: it is no regular file, or corrupted.
    """
    regular(path)
    try:
        return _safetensors_problem(path) if path.suffix == SAFETENSORS else _saved_problem(path)
    except (StageError, MemoryError):
        raise
    except Exception as error:  # zipfile and pickletools raise all kinds of errors on a corrupted file
        raise StageError(f"{path}: cannot be read as weights of PyTorch ({error}); the file is corrupted") from error


def _saved_problem(path: Path) -> str:
    with opened(path) as stream:
        if not zipfile.is_zipfile(stream):
            stream.seek(0)
            return _pickle_problem(path, stream.read(MAX_PICKLE))
        stream.seek(0)
        with zipfile.ZipFile(stream) as archive:
            return _archive_problem(path, archive)


def _archive_problem(path: Path, archive: zipfile.ZipFile) -> str:
    members = archive.infolist()
    names = [info.filename for info in members]
    if found := next((text for info in members if (text := member_problem(info))), ""):
        return f"{path}: {found}"
    if fault := unpacks_to_too_much(path.stat().st_size, sum(info.file_size for info in members)):
        return f"{path}: {fault}"
    if any("/code/" in name for name in names):
        return f"{path}: contains a TorchScript program; {SCRIPTED}"
    pickles = [info for info in members if info.filename.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1 or len(set(names)) < len(names):
        return f"{path}: expected one data.pkl and no name twice; the file is corrupted, or not written by torch.save"
    if pickles[0].file_size > MAX_PICKLE:
        return f"{path}: data.pkl has {pickles[0].file_size:,} bytes; expected at most {MAX_PICKLE:,}"
    return _pickle_problem(path, archive.read(pickles[0]))


def _pickle_problem(path: Path, data: bytes) -> str:
    foreign = sorted({name for name in _classes(data) if not _is_plain(name)})
    if not foreign:
        return ""
    advice = ADVICE.format(name=path.name)
    return (
        f"{path}: expected weights only, received objects of {', '.join(foreign[:3])}, whose code would run. Save "
        f"torch.save(model.state_dict(), 'weights.pth') instead, or, {advice}"
    )


def _classes(data: bytes) -> Iterator[str]:
    """Yield ``module.name`` of every class or function that a pickle refers to."""
    strings: list[str] = []
    opcodes = pickletools.genops(data)
    # Legacy files hold several pickles, the first of which are numbers; what follows the last is raw data.
    start = 0
    for _ in range(5):
        try:
            for opcode, argument, _position in opcodes:
                if opcode.name in ("GLOBAL", "INST"):
                    yield str(argument).replace(" ", ".")
                elif opcode.name == "STACK_GLOBAL":
                    yield ".".join(strings[-2:])
                elif isinstance(argument, str):
                    strings.append(argument)
                if opcode.name == "STOP":
                    start += (_position or 0) + 1
        except ValueError:
            if start == 0:
                raise
            return
        opcodes = pickletools.genops(data[start:])


def _is_plain(name: str) -> bool:
    return name.partition(".")[0] in _PLAIN and not name.startswith(("torch.nn.modules", "torch.jit", "torch.fx"))


def _safetensors_problem(path: Path) -> str:
    size = path.stat().st_size
    with opened(path) as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(size - 8, MAX_PICKLE):
            return f"{path}: expected the header of a .safetensors file, received something else; is it truncated?"
        header = json.loads(stream.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    if 8 + length + max(ends, default=0) != size:
        return f"{path}: has {size:,} bytes, its header expects {8 + length + max(ends, default=0):,}; is it truncated?"
    return ""


def weights(path: Path) -> dict[str, Any]:
    """Return the tensors of a file by name, without the prefixes of wrappers, on the CPU.

    Raises:
        StageError: the file is corrupted, has other objects, or no weights.
    """
    import torch

    if text := problem(path):
        raise StageError(text)
    try:
        if path.suffix == SAFETENSORS:
            from safetensors.torch import load_file

            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch raises all kinds of errors on a corrupted file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StageError(
            f"{path}: PyTorch cannot load it as weights: {reason[:200]} Save torch.save(model.state_dict(), ...) alone"
        ) from error
    return _without_prefixes(_tensors(path, content))


def _tensors(path: Path, content: Any) -> dict[str, Any]:
    import torch

    for _ in range(3):
        if not isinstance(content, Mapping):
            raise StageError(f"{path}: expected a dictionary of weights, received {type(content).__name__}")
        if any(isinstance(value, torch.Tensor) for value in content.values()):
            return {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
        nested = [key for key in _NESTED if isinstance(content.get(key), Mapping)]
        if not nested:
            break
        content = content[nested[0]]
    keys = ", ".join(map(str, list(content)[:8])) or "no keys"
    raise StageError(f"{path}: expected weights, or weights under one of {', '.join(_NESTED)}; received {keys}")


def _without_prefixes(tensors: dict[str, Any]) -> dict[str, Any]:
    tensors.pop("n_averaged", None)  # of torch's averaged models
    while tensors and (prefix := next((p for p in _PREFIXES if all(name.startswith(p) for name in tensors)), "")):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
