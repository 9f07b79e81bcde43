"""Means and standard deviations of the channels of known data sets, for pixels in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

KnownStatistics = Literal["cifar10", "cifar100", "clip", "fashion_mnist", "imagenet", "inception", "mnist", "svhn"]

CHANNEL_STATISTICS: Mapping[KnownStatistics, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "fashion_mnist": ((0.2860,), (0.3530,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "mnist": ((0.1307,), (0.3081,)),
    "svhn": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
}
"""Mean and standard deviation, red, green, blue.

Source: torchvision's transforms (``imagenet``), PyTorch's examples (``mnist``), timm's ``IMAGENET_INCEPTION_MEAN``
(``inception``), OpenAI's CLIP (``clip``); the others are those of the training images.
"""
