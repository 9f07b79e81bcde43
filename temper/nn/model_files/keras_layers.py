"""The closed list of layers of Keras 1 and 2 that are rebuilt, with the options that determine what each computes."""

from __future__ import annotations

_CONV = ("kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias")
_TRANSPOSED = (*_CONV, "output_padding")
_POOL = ("pool_size", "strides", "padding")
_RECURRENT = ("units", "activation", "use_bias", "return_sequences", "go_backwards", "dropout", "recurrent_dropout")
_FILLED = ("fill_mode", "interpolation", "fill_value")

LAYERS: dict[str, tuple[str, ...]] = {
    "Activation": ("activation",),
    "ActivityRegularization": (),
    "Add": (),
    "AdditiveAttention": ("use_scale", "dropout"),
    "AlphaDropout": ("rate",),
    "Attention": ("use_scale", "score_mode", "dropout"),
    "Average": (),
    "AveragePooling1D": _POOL,
    "AveragePooling2D": _POOL,
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "Bidirectional": ("layer", "backward_layer", "merge_mode"),
    "CenterCrop": ("height", "width"),
    "Concatenate": ("axis",),
    "Conv1D": ("filters", "groups", *_CONV),
    "Conv1DTranspose": ("filters", *_TRANSPOSED),
    "Conv2D": ("filters", "groups", *_CONV),
    "Conv2DTranspose": ("filters", *_TRANSPOSED),
    "Cropping1D": ("cropping",),
    "Cropping2D": ("cropping",),
    "Dense": ("units", "activation", "use_bias"),
    "DepthwiseConv1D": ("depth_multiplier", *_CONV),
    "DepthwiseConv2D": ("depth_multiplier", *_CONV),
    "Dot": ("axes", "normalize"),
    "Dropout": ("rate",),
    "EinsumDense": ("equation", "output_shape", "activation", "bias_axes"),
    "ELU": ("alpha",),
    "Flatten": (),
    "GaussianDropout": ("rate",),
    "GaussianNoise": ("stddev",),
    "GlobalAveragePooling1D": ("keepdims",),
    "GlobalAveragePooling2D": ("keepdims",),
    "GlobalMaxPooling1D": ("keepdims",),
    "GlobalMaxPooling2D": ("keepdims",),
    "GroupNormalization": ("groups", "axis", "epsilon", "center", "scale"),
    "GRU": (*_RECURRENT, "recurrent_activation", "reset_after"),
    "Identity": (),
    "LayerNormalization": ("axis", "epsilon", "center", "scale"),
    "LeakyReLU": ("negative_slope",),
    "LSTM": (*_RECURRENT, "recurrent_activation"),
    "Maximum": (),
    "MaxPooling1D": _POOL,
    "MaxPooling2D": _POOL,
    "Minimum": (),
    "MultiHeadAttention": (
        "num_heads",
        "key_dim",
        "value_dim",
        "dropout",
        "use_bias",
        "output_shape",
        "attention_axes",
    ),
    "Multiply": (),
    "Normalization": ("axis", "mean", "variance", "invert"),
    "Permute": ("dims",),
    "PReLU": ("shared_axes",),
    "RandomBrightness": ("factor", "value_range"),
    "RandomContrast": ("factor",),
    "RandomFlip": ("mode",),
    "RandomRotation": ("factor", *_FILLED),
    "RandomTranslation": ("height_factor", "width_factor", *_FILLED),
    "RandomZoom": ("height_factor", "width_factor", *_FILLED),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "RepeatVector": ("n",),
    "Rescaling": ("scale", "offset"),
    "Reshape": ("target_shape",),
    "Resizing": ("height", "width", "interpolation", "crop_to_aspect_ratio"),
    "SeparableConv1D": ("filters", "depth_multiplier", *_CONV),
    "SeparableConv2D": ("filters", "depth_multiplier", *_CONV),
    "SimpleRNN": _RECURRENT,
    "Softmax": ("axis",),
    "SpatialDropout1D": ("rate",),
    "SpatialDropout2D": ("rate",),
    "Subtract": (),
    "ThresholdedReLU": ("theta",),
    "TimeDistributed": ("layer",),
    "UnitNormalization": ("axis",),
    "UpSampling1D": ("size",),
    "UpSampling2D": ("size", "interpolation"),
    "ZeroPadding1D": ("padding",),
    "ZeroPadding2D": ("padding",),
}

ACTIVATIONS = ("linear", "relu", "relu6", "leaky_relu", "softmax", "log_softmax", "sigmoid", "hard_sigmoid", "tanh", "elu", "selu",
               "softplus", "softsign", "swish", "silu", "gelu", "exponential", "mish")  # fmt: skip

CLASSES = {
    "AtrousConvolution2D": "Conv2D",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution2DTranspose": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    "SyncBatchNormalization": "BatchNormalization",
}
"""Names of classes that became others."""
RENAMED: dict[str, dict[str, str]] = {
    "Conv2D": {
        "nb_filter": "filters",
        "subsample": "strides",
        "border_mode": "padding",
        "bias": "use_bias",
        "atrous_rate": "dilation_rate",
    },
    "Dense": {"output_dim": "units", "bias": "use_bias"},
    "Dropout": {"p": "rate"},
    "SpatialDropout2D": {"p": "rate"},
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
    "rng_type",
    "noise_shape",
    "init",
    "weights",
    "fused",
    "synchronized",
    "renorm_momentum",
    "unit_forget_bias",
    "implementation",
    "l1",
    "l2",
    "query_shape",
    "key_shape",
    "value_shape",
)
_SHAPES = ("batch_input_shape", "batch_shape", "input_shape", "input_dtype", "input_dim")
_OF_TRAINING = ("_initializer", "_regularizer", "_constraint")
_NEUTRAL = {"groups": 1}
"""Options of layers that never had another value."""


def harmless(key: str, value: object) -> bool:
    """Return whether an option that is not in the list cannot change what a layer computes."""
    return (
        value in (None, False)
        or key in (*_NAMES, *_SHAPES)
        or key.endswith(_OF_TRAINING)
        or (_NEUTRAL.get(key) == value and value is not None)
    )
