"""Networks of torchvision, timm and RobustBench by name, for the weights of a file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from temper.core.errors import StageError, did_you_mean
from temper.nn.pytorch import robustbench_networks
from temper.nn.pytorch.torchvision_operators import torchvision
from temper.system import packages

PREFIXES = ("torchvision/", "timm/", "robustbench/")
_PACKAGES = {"torchvision": ("torchvision",), "timm": ("timm", "torchvision"), "robustbench": ()}


def problem(architecture: str) -> str:
    """Return what is wrong with a name as far as it shows without importing torch; empty if nothing is."""
    library, _, name = architecture.partition("/")
    if library not in _PACKAGES:
        return f"expected a name such as torchvision/resnet18, timm/NAME or robustbench/NAME, received '{architecture}'"
    if library == "robustbench" and not robustbench_networks.is_known(name):
        known = robustbench_networks.KNOWN
        return f"expected {', '.join(known)} (depth and width are free), received '{name}'{did_you_mean(name, known)}"
    return packages.advice(("torch", *_PACKAGES[library], "onnx", "onnxscript"))


def module(architecture: str, weights: Mapping[str, Any], side: int) -> Any:
    """Return a network with some weights in inference mode; the number of classes is that of the weights.

    ``side`` is the height of the images, for the networks of timm that are built for one.

    Raises:
        StageError: the name is unknown, or weights are missing, unexpected or of another shape.
    """
    if text := problem(architecture):
        raise StageError(text)
    library, _, name = architecture.partition("/")
    classes = _classes(weights)
    if library == "torchvision":
        built = _torchvision(name, classes)
    elif library == "timm":
        built = _timm(name, classes, side)
    else:
        built = robustbench_networks.network(name, classes, weights)
    return _with(built, weights, architecture)


def _classes(weights: Mapping[str, Any]) -> int:
    """Return the number of outputs of the last matrix, or of the last 1x1 convolution where there is none."""
    matrices = [value for value in weights.values() if value.ndim == 2] or [
        value for value in weights.values() if value.ndim == 4 and tuple(value.shape[2:]) == (1, 1)
    ]
    if not matrices:
        raise StageError(
            "the weights have no matrix and no 1x1 convolution, whose rows would be the classes; is the file a classifier's?"
        )
    return int(matrices[-1].shape[0])


def _torchvision(name: str, classes: int) -> Any:
    models = torchvision().models
    known = models.list_models(module=models)
    if name not in known:
        raise StageError(f"torchvision has no classifier '{name}'{did_you_mean(name, known)}")
    options: dict[str, Any] = {"num_classes": classes, "weights": None}
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": False}
    return models.get_model(name, **options)


def _timm(name: str, classes: int, side: int) -> Any:
    torchvision()  # timm imports it
    import timm

    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise StageError(f"timm has no model '{name}'{did_you_mean(name, known)}")
    given = {"num_classes": classes, "pretrained": False}
    try:
        return timm.create_model(name, img_size=side, **given)
    except TypeError:  # networks of any size have no such option
        return timm.create_model(name, **given)


def _with(built: Any, weights: Mapping[str, Any], architecture: str) -> Any:
    import torch

    own = built.state_dict()
    taken = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
    missing = [name for name in own if name not in taken and not name.endswith("num_batches_tracked")]
    # Auxiliary heads take part in training only.
    unexpected = [name for name in taken if name not in own and not name.lower().startswith(("aux", "n_averaged"))]
    shapes = [
        f"{name} {tuple(value.shape)} instead of {tuple(own[name].shape)}"
        for name, value in taken.items()
        if name in own and value.shape != own[name].shape
    ]
    said = [
        f"{label}: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for label, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if names
    ]
    if said:
        raise StageError(
            f"the weights are not those of {architecture}: {'; '.join(said)}. Name the architecture of the weights, or "
            "export the model as ONNX"
        )
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        built.load_state_dict({name: value for name, value in taken.items() if name in own}, strict=False)
    return built.float().eval()
