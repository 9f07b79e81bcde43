"""Compares a converted model with onnxruntime on images, so that no conversion differs unnoticed."""

from __future__ import annotations

from typing import Any

import numpy as np

from temper.core.artefacts import Images
from temper.core.errors import StageError
from temper.nn.onnx.onnx_facts import OnnxFacts
from temper.nn.onnx.onnx_tensors import Array
from temper.system import backend, threads

TOLERANCE, OF_HALF = 1e-4, 2e-2
"""Largest difference of an output relative to the largest output: in single precision, and in half precision."""


def check(facts: OnnxFacts, model: Any, images: Images) -> None:
    """Compare the outputs of a converted model with onnxruntime's on some of the model's inputs (n, ...).

    Raises:
        StageError: they differ, or onnxruntime cannot run the file.
    """
    expected = _expected(facts, images)
    found = np.concatenate([
        np.asarray(backend.keras().ops.convert_to_numpy(model(images[i : i + _AT_ONCE], training=False)))
        for i in range(0, len(images), _AT_ONCE)
    ])  # fmt: skip
    if found.size != expected.size:
        raise StageError(f"{facts.path}: expected outputs {expected.shape}, received {found.shape}")
    difference = np.abs(found - expected.reshape(found.shape)).max() / max(
        np.abs(expected).max(), np.finfo(np.float32).tiny
    )
    allowed = OF_HALF if facts.half else TOLERANCE
    if not difference <= allowed:
        raise StageError(
            f"{facts.path}: the converted model differs from onnxruntime by {difference:.1e} of the largest output; expected at "
            f"most {allowed:.0e}. Report this with the file, or export the model in another way (opset, exporter)"
        )


_AT_ONCE = 32


def _expected(facts: OnnxFacts, images: Images) -> Array:
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads.count()
    options.log_severity_level = 4
    # The session runs once: no copies of weights in other layouts, no pool of memory.
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.disable_prepacking", "1")
    given = images.transpose([group[0] for group in facts.axes])
    kinds = {"tensor(float16)": np.float16, "tensor(double)": np.float64}
    batch = facts.batch
    step = batch or _AT_ONCE
    try:
        session = runtime.InferenceSession(str(facts.path), options, providers=["CPUExecutionProvider"])
        (input_,) = session.get_inputs()
        given = np.ascontiguousarray(given, kinds.get(input_.type, np.float32))
        outputs = []
        for start in range(0, len(given), step):
            part = given[start : start + step]
            missing = (batch or len(part)) - len(part)
            whole = np.concatenate([part, np.repeat(part[-1:], missing, 0)])
            found = np.asarray(session.run(None, {input_.name: whole})[0], np.float32)
            outputs.append(found.reshape(len(whole), -1)[: len(part)])
    except Exception as error:  # onnxruntime raises exceptions of its own, without a common base
        raise StageError(f"{facts.path}: onnxruntime cannot run it: {str(error).splitlines()[0]}") from error
    return np.concatenate(outputs)
