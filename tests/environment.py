"""The environment of the tests: what the user's says of Temper and of its libraries is taken out of it."""

from __future__ import annotations

from collections.abc import MutableMapping

PREFIXES = (
    "CUDA_", "DASK_", "DIFFUSERS_", "DRFUZZ_", "HF_", "JAX_", "KERAS_", "KMP_", "OMP_", "PBS_", "SBATCH_", "SLURM_", "SQUEUE_",
    "TEMPER_", "TF_", "TORCH_", "TRANSFORMERS_", "XLA_",
)  # fmt: skip
NAMES = (
    "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "FORCE_COLOR", "GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "LINES", "LOCALAPPDATA",
    "MKL_NUM_THREADS", "MPLBACKEND", "NO_COLOR", "NPROC", "NVIDIA_TF32_OVERRIDE", "OPENBLAS_NUM_THREADS", "PYTHONWARNINGS", "TERM",
    "TTY_COMPATIBLE", "TTY_INTERACTIVE",
)  # fmt: skip
"""Where data are, how wide a terminal is, in which job of a batch system we are: all this is each test's own to say."""


def isolate(environment: MutableMapping[str, str]) -> None:
    """Take out of an environment what the program or its libraries would read from it."""
    for name in [name for name in environment if name.startswith(PREFIXES) or name in NAMES]:
        del environment[name]
