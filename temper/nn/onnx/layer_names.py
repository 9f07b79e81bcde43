"""Names of the layers of imported models, from the names of weights and nodes, since reports show them."""

from __future__ import annotations

import re
from collections.abc import Collection

from temper.nn.onnx.onnx_node import OnnxNode

_WEIGHTS = re.compile(r"(.+)[./](weight|kernel|gamma|scale|depthwise_kernel|w)$")
_INVENTED = re.compile(r"^(onnx::|_val|val_|/|const_fold|_?\d+$)")
_TENSORFLOW = re.compile(r"(/ReadVariableOp.*|:\d+|__\d+)$")
_SCOPE = ("StatefulPartitionedCall", "")
LONGEST = 100


def layer_name(node: OnnxNode, weights: Collection[str]) -> str:
    """Return a name for the layer of a node that reads these initial tensors: the module's in the program that wrote it."""
    weight = node.inputs[1] if len(node.inputs) > 1 and node.inputs[1] in weights else ""
    if (found := _WEIGHTS.match(weight)) and not _INVENTED.match(weight):
        return _plain(found[1])
    name = _TENSORFLOW.sub("", _TENSORFLOW.sub("", node.name)).removeprefix("node_")
    parts = [part for part in name.split("/") if part not in _SCOPE]
    if len(parts) > 1:
        parts = parts[:-1] if parts[-1].startswith(node.op) or node.op in ("Gemm", "MatMul") else parts
    qualified: list[str] = []
    for part in parts:
        if qualified and part.startswith(f"{qualified[-1]}."):
            qualified[-1] = part  # torch repeats the name of a list of modules before the position in it
        else:
            qualified.append(part)
    return _plain(".".join(qualified)) or node.op.lower()


def unique(name: str, taken: set[str]) -> str:
    """Return a name with a number appended if it is taken, and note it."""
    found, number = name, 1
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found


def _plain(name: str) -> str:
    # Keras allows no slash in a name, and torch no dot in that of a parameter.
    return re.sub(r"[^\w\-]+", "_", name, flags=re.ASCII).strip("_")[:LONGEST]
