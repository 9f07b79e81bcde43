"""Writes the models of former_keras.tar.xz, with inputs and the outputs that the program which wrote them computes.

    python3.11 -m venv v && v/bin/pip install tensorflow-cpu==2.15.1 && v/bin/python write_former_keras.py models/keras-2.15
    the same with tensorflow-cpu==2.13.1 into models/keras-2.13
    pip install tf_keras==2.21.0 && KERAS=tf_keras python write_former_keras.py models/tf_keras-2.21
    cd models && tar --sort=name --mtime=2024-01-01 --owner=0 --group=0 -cf - * | xz -9e > ../former_keras.tar.xz

Of what it writes, the archive holds a choice of models and formats below 100 kB. ``keras-3`` holds ``model.export`` of a graph of
``keras.ops``.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SHAPE = (8, 8, 3)


def builders(keras: Any, tf: Any) -> dict[str, Callable[[], Any]]:
    """Return what builds each model."""
    layers = keras.layers

    def functional(build: Callable[[Any], Any]) -> Callable[[], Any]:
        def model() -> Any:
            inputs = keras.Input(SHAPE)
            x = build(inputs)
            scores = layers.Dense(3)(layers.Flatten()(x) if len(x.shape) > 2 else x)
            return keras.Model(inputs, tf.nn.softmax(scores) if build is ops_more else scores)

        return model

    def ops_plus(i: Any) -> Any:
        x = layers.Conv2D(4, 3, padding="same")(i) + layers.Conv2D(4, 3, padding="same")(i)
        return (-((1.5 - (tf.nn.relu(x) * 2 - 1)) / 3.0)) ** 2

    def ops_slice(i: Any) -> Any:
        rows = tf.reshape(i[:, 1:5, ::2, :], [-1, 48])
        return tf.concat([rows, layers.Flatten()(i[..., 0]), layers.Flatten()(i[:, 2])], axis=-1)

    def ops_more(i: Any) -> Any:
        x = tf.nn.leaky_relu(tf.transpose(tf.image.resize(i, [4, 4]), [0, 2, 1, 3]), alpha=0.1)
        x = tf.squeeze(tf.reduce_mean(x, axis=[1, 2], keepdims=True), axis=[1, 2])
        x = tf.clip_by_value(tf.nn.silu(tf.nn.gelu(tf.sigmoid(x))), 0.0, 6.0)
        x = tf.pad(tf.exp(tf.math.sqrt(tf.abs(tf.math.maximum(x, 0.01)))), [[0, 0], [1, 1]])
        x = tf.expand_dims(x, 1)
        x = tf.reduce_sum(tf.stack([x[:, 0], x[:, 0]], axis=1), 1)
        return tf.nn.l2_normalize(tf.cast(x, "float32"), axis=-1)

    def ops_inputs(i: Any) -> Any:
        applications = keras.applications
        both = [applications.mobilenet_v2.preprocess_input(i * 255.0), applications.vgg16.preprocess_input(i * 255.0)]
        return layers.Concatenate()(both)

    def attention(i: Any) -> Any:
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Reshape((4, 8))(layers.Conv2D(8, 4, strides=4)(i)))
        x = layers.Dense(8, activation=tf.nn.gelu)(layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)]))
        x = layers.Attention(use_scale=True)([x, x])
        x = layers.AdditiveAttention()([x, x])
        x = layers.MaxPooling1D(2)(layers.Conv1D(4, 2)(layers.Dot(axes=-1)([x, x])))
        x = layers.LSTM(4, return_sequences=True)(layers.RepeatVector(3)(layers.GlobalAveragePooling1D()(x)))
        x = layers.Bidirectional(layers.GRU(3, return_sequences=True))(x)
        return layers.SimpleRNN(3)(layers.TimeDistributed(layers.Dense(3))(x))

    def merges(i: Any) -> Any:
        a, b = layers.Conv2D(3, 1)(i), layers.Conv2D(3, 1)(i)
        x = layers.Maximum()([layers.Minimum()([layers.Subtract()([a, b]), i]), a])
        x = layers.Concatenate()([layers.Average()([layers.Multiply()([x, b]), i, a]), x])
        x = layers.Reshape((8, 8, 6))(layers.Permute((3, 1, 2))(x))
        for kind in (layers.SpatialDropout2D, layers.GaussianNoise, layers.GaussianDropout, layers.AlphaDropout):
            x = kind(0.1)(x)
        return layers.ActivityRegularization(0.1)(x)

    def nested(i: Any) -> Any:
        chain = [keras.Input(SHAPE), layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization(), layers.ReLU()]
        entry = keras.Input((8, 8, 4))
        branch = keras.Model(entry, layers.Add()([layers.BatchNormalization()(layers.Conv2D(4, 1)(entry)), entry]))
        branch.trainable = False
        shared = layers.Conv2D(4, 3, padding="same", name="shared")
        return layers.GlobalMaxPooling2D()(branch(shared(shared(branch(keras.Sequential(chain)(i))))))

    def depthwise() -> Any:
        return keras.Sequential(
            [keras.Input(SHAPE), layers.Rescaling(2.0, offset=-1), layers.ZeroPadding2D(((0, 1), (0, 1))),
             layers.DepthwiseConv2D(3, strides=2, use_bias=False), layers.BatchNormalization(), layers.ReLU(6.0),
             layers.SeparableConv2D(5, 3, padding="same"), layers.PReLU(shared_axes=[1, 2]), layers.LayerNormalization(),
             layers.GlobalAveragePooling2D(keepdims=True), layers.Reshape((5,)), layers.Dense(3, activation="softmax")]
        )  # fmt: skip

    def transfer() -> Any:
        convolutions = [layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization(), layers.Activation("relu"),
                        layers.Conv2D(4, 3), layers.BatchNormalization()]  # fmt: skip
        base = keras.Sequential([keras.Input(SHAPE), *convolutions])
        base.trainable = False
        augmentation = [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(0.1),
            layers.RandomZoom(0.1),
            layers.RandomContrast(0.2),
        ]
        head = [layers.GlobalAveragePooling2D(), layers.Dropout(0.2), layers.Dense(3, activation="softmax")]
        return keras.Sequential([keras.Input(SHAPE), *augmentation, base, *head])

    def normal() -> Any:
        adapted = layers.Normalization(axis=-1)
        adapted.adapt(np.random.default_rng(1).random((20, *SHAPE)).astype("float32") * 3)
        return keras.Sequential(
            [keras.Input(SHAPE), adapted, layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1, 0.2, 0.3]),
             layers.Resizing(6, 6), layers.CenterCrop(5, 5), layers.UpSampling2D(2, interpolation="bilinear"),
             layers.Conv2DTranspose(4, 3, strides=2, padding="same"), layers.LeakyReLU(alpha=0.3), layers.ELU(),
             layers.ThresholdedReLU(0.05), layers.Softmax(), layers.Cropping2D(1), layers.AveragePooling2D(2),
             layers.GroupNormalization(2), layers.UnitNormalization(), layers.Flatten(),
             layers.Dense(3, activation="hard_sigmoid"), layers.Dense(3)]
        )  # fmt: skip

    def acts() -> Any:
        names = (
            "elu",
            "selu",
            "softplus",
            "softsign",
            "swish",
            "gelu",
            "tanh",
            "exponential",
            "hard_sigmoid",
            "mish",
            "relu",
        )
        activations = [layers.Activation(name) for name in names]
        return keras.Sequential(
            [keras.Input(SHAPE), layers.Conv2D(3, 1), *activations, layers.Flatten(), layers.Dense(3)]
        )

    graphs = (ops_plus, ops_slice, ops_more, ops_inputs, attention, merges, nested)
    chains = (depthwise, transfer, normal, acts)
    return {**{f.__name__: functional(f) for f in graphs}, **{f.__name__: f for f in chains}}


def main(folder: Path) -> None:
    """Write every model as .h5, as .keras where Keras can, and as SavedModel."""
    keras, tf = importlib.import_module(os.environ.get("KERAS", "keras")), importlib.import_module("tensorflow")
    folder.mkdir(parents=True, exist_ok=True)
    for name, build in builders(keras, tf).items():
        keras.backend.clear_session()
        keras.utils.set_random_seed(7)
        model, rng = build(), np.random.default_rng(0)
        changed = [
            value + rng.normal(size=value.shape, scale=0.1) if value.dtype == "float32" and "variance" not in variable.name else value
            for value, variable in zip(model.get_weights(), model.weights, strict=True)
        ]  # fmt: skip
        model.set_weights(changed)
        x = rng.random((3, *SHAPE)).astype("float32")
        np.savez(folder / f"{name}.npz", x=x, y=np.asarray(model(x, training=False)))
        for suffix in (".h5", ".keras", ""):
            try:
                model.save(folder / f"{name}{suffix}")
            except TypeError as error:  # Keras 2 writes no slices with an ellipsis into .keras
                print(name, suffix, error)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
