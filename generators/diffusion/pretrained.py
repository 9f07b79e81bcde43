"""Loads an inpainting pipeline, with advice on failure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from temper.core.errors import StageError
from temper.generators.diffusion.model_folder import INDEX, parts_of
from temper.system import backend

Number = Literal["auto", "float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class PretrainedPipeline:
    """The pipeline to load: a model of the hub or of a folder, with its number format and device."""

    name: str
    revision: str | None
    variant: str | None
    offline: bool
    dtype: Number
    cpu_offload: bool
    safety_checker: bool

    def pipeline(self) -> Any:
        """Return the pipeline; the last one requested is cached.

        Raises:
            StageError: it cannot be loaded; the message says what to do.
        """
        return _loaded(self)

    @property
    def local(self) -> bool:
        """Whether it is a folder."""
        return Path(self.name).is_dir()


@lru_cache(maxsize=1)
def _loaded(wanted: PretrainedPipeline) -> Any:
    torch, device = backend.torch(), backend.torch_device()
    from diffusers import AutoPipelineForInpainting
    from diffusers.utils import logging as diffusers_logging

    if wanted.cpu_offload and device == "cpu":
        raise StageError("pipeline: cpu_offload saves GPU memory, but no GPU is available; set cpu_offload: false")
    if wanted.cpu_offload and find_spec("accelerate") is None:
        raise StageError("pipeline: cpu_offload needs the package accelerate; pip install accelerate")
    if wanted.dtype == "float16" and device == "cpu":
        raise StageError("pipeline: float16 needs a GPU, but none is available; use dtype: auto")
    number = ("float16" if device == "cuda" else "float32") if wanted.dtype == "auto" else wanted.dtype
    options = {} if wanted.safety_checker else {"safety_checker": None, "requires_safety_checker": False}
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    try:
        if not wanted.local:
            _check_index(wanted)
        pipeline = AutoPipelineForInpainting.from_pretrained(
            wanted.name,
            revision=wanted.revision,
            variant=wanted.variant,
            local_files_only=wanted.offline,
            dtype=getattr(torch, number),
            use_safetensors=True,
            low_cpu_mem_usage=find_spec("accelerate") is not None,
            **options,
        )
        if wanted.cpu_offload:
            pipeline.enable_model_cpu_offload()
        else:
            pipeline.to(device)
    except torch.OutOfMemoryError as error:
        message = "does not fit into the GPU's memory; set cpu_offload: true, or dtype: float16"
        raise StageError(f"pipeline: {wanted.name} {message}") from error
    except (StageError, MemoryError):
        raise
    except Exception as error:  # diffusers raises all kinds of errors on a corrupted model
        raise StageError(f"pipeline: {wanted.name} {_remedy(wanted, error)}") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _check_index(wanted: PretrainedPipeline) -> None:
    """Check the index of a model of the hub, as the plan does for a folder: diffusers imports whatever it names.

    Raises:
        StageError: the index is corrupted, or names code of other packages.
    """
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(wanted.name, INDEX, revision=wanted.revision, local_files_only=wanted.offline)
    for _ in parts_of(Path(path)):
        pass


def _remedy(wanted: PretrainedPipeline, error: Exception) -> str:
    """Return what is wrong and what to do."""
    from huggingface_hub import is_offline_mode
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    causes = list(_all_causes(error))
    text = " ".join(str(error).split())
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return (
            "is gated: accept its terms on its page of the hub, then log in with `hf auth login` or set the "
            "environment "
            "variable HF_TOKEN; no experiment file takes a token"
        )
    if wanted.variant is not None and "variant" in text:
        return f"has no variant {wanted.variant}; remove variant, or set one that exists"
    if "safetensors" in text:
        return (
            "has no weights in the safetensors format, the only one supported, or only those of a variant such as "
            "fp16 "
            f"(variant: fp16): {text}"
        )
    if wanted.local:
        return f"is a folder without a whole inpainting pipeline; expected what `save_pretrained` writes ({text})"
    if wanted.offline or is_offline_mode():
        setting = "offline is set" if wanted.offline else "HF_HUB_OFFLINE is set"
        return (
            f"is neither a folder nor a model already downloaded, and {setting}; "
            f"download it with `hf download {wanted.name} --revision {wanted.revision}` with network access, or set "
            "offline: false"
        )
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        return "is not on the hub, or private; correct the id, or log in with `hf auth login`"
    return f"cannot be loaded: {text}"


def _all_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
