"""Rebuilds models of Keras 1, 2 and 3 from their configuration and a closed list of layers, running no code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from temper.core.errors import StageError, did_you_mean
from temper.nn.model_files.keras_config import LayerGraph, Node, plain
from temper.system import backend

Options = dict[str, Any]

_CONV = ("kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias")
_POOL = ("pool_size", "strides", "padding")

LAYERS: dict[str, tuple[str, ...]] = {
    "Activation": ("activation",),
    "Add": (),
    "Average": (),
    "AveragePooling2D": _POOL,
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "Concatenate": ("axis",),
    "Conv2D": ("filters", "groups", *_CONV),
    "Dense": ("units", "activation", "use_bias"),
    "DepthwiseConv2D": ("depth_multiplier", *_CONV),
    "Dropout": ("rate",),
    "ELU": ("alpha",),
    "Flatten": (),
    "GaussianNoise": ("stddev",),
    "GlobalAveragePooling2D": ("keepdims",),
    "GlobalMaxPooling2D": ("keepdims",),
    "LeakyReLU": ("negative_slope",),
    "Maximum": (),
    "MaxPooling2D": _POOL,
    "Multiply": (),
    "Permute": ("dims",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "Rescaling": ("scale", "offset"),
    "Reshape": ("target_shape",),
    "SeparableConv2D": ("filters", "depth_multiplier", *_CONV),
    "Softmax": ("axis",),
    "SpatialDropout2D": ("rate",),
    "ZeroPadding2D": ("padding",),
}
"""The layers that can be rebuilt, with the options that determine what each computes."""

# hard_sigmoid is excluded: Keras 3 computes another function under that name than Keras 1 and 2.
ACTIVATIONS = ("linear", "relu", "softmax", "sigmoid", "tanh", "elu", "selu", "softplus", "softsign", "swish", "gelu")

_CLASSES = {"Convolution2D": "Conv2D"}
_RENAMED: dict[str, dict[str, str]] = {
    "Conv2D": {"nb_filter": "filters", "subsample": "strides", "border_mode": "padding", "bias": "use_bias"},
    "Dense": {"output_dim": "units", "bias": "use_bias"},
    "Dropout": {"p": "rate"},
    "LeakyReLU": {"alpha": "negative_slope"},
    "MaxPooling2D": {"border_mode": "padding"},
    "AveragePooling2D": {"border_mode": "padding"},
}
# These options affect training only or nothing; any other unknown option may change the result.
_NAMES = (
    "name",
    "trainable",
    "dtype",
    "seed",
    "noise_shape",
    "init",
    "weights",
    "fused",
    "synchronized",
    "renorm_momentum",
)
_SHAPES = ("batch_input_shape", "batch_shape", "input_shape", "input_dtype", "input_dim")
_OF_TRAINING = ("_initializer", "_regularizer", "_constraint")


def faults(graph: LayerGraph) -> Iterator[str]:
    """Yield the layers of a model that cannot be rebuilt; imports no framework."""
    for node in graph.nodes:
        try:
            _options(node)
        except StageError as error:
            yield str(error)


def layer(node: Node) -> Any:
    """Return the public Keras layer that a node describes, not yet built.

    Raises:
        StageError: the node is outside the closed list.
    """
    kind, options = _options(node)
    return getattr(backend.keras().layers, kind)(name=node.name, **options)


def _options(node: Node) -> tuple[str, Options]:
    where = f"layer '{node.name}'"
    kind = _CLASSES.get(node.kind, node.kind)
    if kind not in LAYERS:
        raise StageError(
            f"{where}: cannot rebuild a {node.kind}{did_you_mean(kind, LAYERS)} known are {', '.join(LAYERS)}"
        )
    options = {_RENAMED.get(kind, {}).get(key, key): value for key, value in node.config.items()}
    if kind == "Conv2D" and "nb_row" in options:
        options["kernel_size"] = [options.pop("nb_row"), options.pop("nb_col")]
    for check in (_check_order, _check_activation, _check_normalisation):
        check(kind, options, where)
    known = LAYERS[kind]
    for key, value in options.items():
        if key not in known and not _harmless(key, value):
            raise StageError(f"{where} ({node.kind}): option {key}={value!r} is unknown; expected {', '.join(known)}")
    return kind, {key: plain(value) for key, value in options.items() if key in known}


def _harmless(key: str, value: Any) -> bool:
    return value in (None, False) or key in (*_NAMES, *_SHAPES) or key.endswith(_OF_TRAINING)


def _check_order(kind: str, options: Options, where: str) -> None:
    order = options.pop("data_format", None) or {"th": "channels_first"}.get(options.pop("dim_ordering", ""))
    if order == "channels_first":
        raise StageError(
            f"{where} ({kind}): expected channels_last, received channels_first, which no CPU kernel computes; "
            "convert the model. (For channels-first images into a Flatten, set the parameter channels_first.)"
        )


def _check_activation(kind: str, options: Options, where: str) -> None:
    if "activation" in options and options["activation"] is None:
        options["activation"] = "linear"
    activation = options.get("activation", "linear")
    if activation not in ACTIVATIONS:
        raise StageError(f"{where} ({kind}): activation {activation!r} is unknown; expected {', '.join(ACTIVATIONS)}")


def _check_normalisation(kind: str, options: Options, where: str) -> None:
    if kind != "BatchNormalization":
        return
    if isinstance(axis := options.get("axis"), list):
        (options["axis"],) = axis
    if options.pop("mode", 0) != 0:
        raise StageError(f"{where} ({kind}): expected mode 0 (per feature); the other modes of Keras 1 no longer exist")
