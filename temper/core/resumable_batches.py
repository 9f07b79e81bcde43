"""Fills arrays batch by batch and resumes from the last batch after an interruption."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.checkpoint import restore_stream, stream_state
from temper.core.run import Run


def fill_in_batches(
    run: Run, out: NDArray[Any], size: int, compute: Callable[[slice], NDArray[Any]], *streams: np.random.Generator
) -> NDArray[Any]:
    """Return ``out`` (n, ...) filled by ``compute``, called on batches of ``size`` rows; report the progress in images.

    ``streams`` are the random streams that ``compute`` draws from. The result does not depend on interruptions.

    Raises:
        Stopped: the process was asked to stop; the checkpoint holds the state to resume from.
    """
    done, n = 0, len(out)
    if (saved := run.checkpoint.load()) is not None:
        arrays, plain = saved
        done = len(arrays["rows"])
        out[:done] = arrays["rows"]
        for stream, state in zip(streams, plain["streams"], strict=True):
            restore_stream(stream, state)
    for start in range(done, n, size):
        rows = slice(start, min(start + size, n))
        out[rows] = compute(rows)
        run.progress(rows.stop, n, "images")
        # After the last batch the artefact itself is stored, so a checkpoint would be wasted.
        if run.checkpoint.due and rows.stop < n:
            run.checkpoint.save({"rows": out[: rows.stop]}, {"streams": list(map(stream_state, streams))})
    return out
