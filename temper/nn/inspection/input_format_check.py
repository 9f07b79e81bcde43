"""Which input format a saved model was trained with, if it is not the one that its target states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples, Images
from temper.core.classifier import Classifier
from temper.nn.editing.channel_statistics import CHANNEL_STATISTICS

SAMPLE = 200
"""Number of images per trial."""
MIN_LIFT = 0.05
"""Minimum gain in accuracy of a format that is reported."""
ERROR = 0.01
"""Probability of reporting a format that is no better, over all trials together."""
UNDERSTOOD = 0.9
"""Accuracy from which no other format is tried."""

_MAX_NAMED = 6
_PLAIN = "no scale, offset, mean or std"
# Caffe's ImageNet means of blue, green, red, for pixels in 0-255.
_CAFFE = np.array([123.68, 116.779, 103.939])


@dataclass(frozen=True)
class InputFormat:
    """What a model takes: ``scale * pixel + offset`` per channel (red, green, blue), red and blue swapped if ``bgr``.

    ``text`` is the setting of a target. ``planar`` is whether images are flattened one channel after the other.
    """

    text: str
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    bgr: bool = False
    planar: bool = False

    def images_for(self, present: InputFormat, x: Images) -> Images:
        """Return images that a model behind the format ``present`` receives as this format of images ``x``."""
        wanted = self._applied(x)
        if present.bgr:
            wanted = wanted[..., ::-1]
        back: Images = ((wanted - present.offset) / present.scale).astype(np.float32)
        return back

    def _applied(self, x: Images) -> NDArray[np.float64]:
        mapped: NDArray[np.float64] = x * self.scale + self.offset
        if self.bgr:
            mapped = mapped[..., ::-1]
        return np.ascontiguousarray(mapped.transpose(0, 3, 1, 2)).reshape(x.shape) if self.planar else mapped


@dataclass(frozen=True)
class InputMismatch:
    """A format in which a model is right on ``hits`` of ``n`` images instead of ``present``; ``texts`` name the best."""

    texts: tuple[str, ...]
    hits: int
    present: int
    n: int

    def text(self) -> str:
        """Return the mismatch as a sentence that names the settings."""
        return (
            f"With `{'`, or just as well `'.join(self.texts)}`, it would be right on {self.hits / self.n:.2%} of {self.n} images "
            f"instead of {self.present / self.n:.2%}; set that for the target, in place of its present format."
        )


def formats(channels: int, flat: bool) -> Iterator[InputFormat]:
    """Yield the usual formats for images of so many channels, the simplest first; ``flat``: the model's input is flat."""
    one, zero = np.ones(1), np.zeros(1)
    affine = {
        _PLAIN: (one, zero),
        "scale: 255": (255 * one, zero),
        "scale: 2, offset: -1": (2 * one, -one),
        "scale: -1, offset: 1": (-one, one),
    }
    for name, (mean, std) in CHANNEL_STATISTICS.items():
        if len(mean) == channels and len(set(mean)) == len(mean):  # inception's are `scale: 2, offset: -1`
            affine[f"mean_std: {name}"] = (1 / np.array(std), -np.array(mean) / np.array(std))
    for text, (scale, offset) in affine.items():
        yield InputFormat(text, scale, offset)
    if channels == 3:
        listed = ", ".join(f"{value:.5f}" for value in _CAFFE / 255)
        affine[f"mean: [{listed}], std: [{1 / 255:.8f}]"] = (255 * one, -_CAFFE)
        for text, (scale, offset) in affine.items():
            yield InputFormat("bgr: true" if text == _PLAIN else f"{text}, bgr: true", scale, offset, bgr=True)
    if channels > 1 and flat:
        yield InputFormat("channels_first: true", one, zero, planar=True)


def input_mismatch(
    classifier: Classifier, present: InputFormat, examples: Examples, tried: Iterable[InputFormat]
) -> InputMismatch | None:
    """Return a better input format for a classifier behind the format ``present``; ``None`` if there is none.

    Formats are tried on up to ``SAMPLE`` evenly spaced images, one forward pass each, unless the classifier is right on
    ``UNDERSTOOD`` of them. The best is reported if its accuracy is higher by ``MIN_LIFT`` and a sign test on the images
    that only one of the two formats gets right is significant at ``ERROR``, corrected for the number of trials
    (Bonferroni). Formats with as many hits are named too.

    Source: McNemar (1947), the test of paired answers.
    """
    from scipy.stats import binom

    sample = sample_of(examples)
    n = len(sample)
    right = classifier.predict(sample.x) == sample.y
    if n == 0 or right.mean() >= UNDERSTOOD:
        return None
    tried = list(tried)
    found = [classifier.predict(one.images_for(present, sample.x)) == sample.y for one in tried]
    hits = [int(answers.sum()) for answers in found]
    best = max(hits)
    gained, lost = (
        int((a & ~b).sum()) for a, b in ((found[hits.index(best)], right), (right, found[hits.index(best)]))
    )
    if best - right.sum() < MIN_LIFT * n or binom.sf(gained - 1, gained + lost, 0.5) * len(tried) > ERROR:
        return None
    texts = tuple(one.text for one, count in zip(tried, hits, strict=True) if count == best)[:_MAX_NAMED]
    return InputMismatch(texts, best, int(right.sum()), n)


def sample_of(examples: Examples) -> Examples:
    """Return up to ``SAMPLE`` evenly spaced examples."""
    n = min(len(examples), SAMPLE)
    return examples.take(np.unique(np.linspace(0, len(examples) - 1, n).round().astype(np.int64)))
