"""Scores of an input by the model's uncertainty, from its logits alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from temper.nn.adequacy.reference_data import Arrays
from temper.nn.adequacy.score import Score, Scores
from temper.nn.inspection.activations import Activations

Float = NDArray[np.float64]


class _Chances:
    """The class probabilities of n inputs, in float64, accurate even where the model is almost certain.

    The probability of the class with the largest logit is 1 / (1 + rest), that of each other class odds / (1 + rest):
    the remainder for the others, however small, is never computed as a difference of two large numbers.
    """

    def __init__(self, seen: Activations) -> None:
        logits = np.asarray(seen.logits, np.float64)
        first = logits.argmax(axis=1)[:, None]
        self.behind = logits - np.take_along_axis(logits, first, axis=1)
        self.odds: Float = np.exp(self.behind)
        np.put_along_axis(self.odds, first, 0.0, axis=1)  # the others only
        self.rest: Float = self.odds.sum(axis=1)
        self.others: Float = self.odds / (1 + self.rest)[:, None]


@dataclass(frozen=True, kw_only=True)
class DeepGini(Score):
    """DeepGini: the probability that two draws from the class probabilities differ, 1 - sum_k p_k^2.

    Source: Feng et al. (2020), DeepGini: Prioritizing Massive Tests to Enhance the Robustness of Deep Neural Networks, eq. 1.
    """

    tag = "deepgini"

    def values(self, learnt: Arrays, seen: Activations, own: NDArray[np.int64], rng: np.random.Generator) -> Scores:
        chances = _Chances(seen)
        first = chances.rest / (1 + chances.rest) ** 2
        gini: Scores = first + (chances.others * (1 - chances.others)).sum(axis=1)
        return gini


@dataclass(frozen=True, kw_only=True)
class Entropy(Score):
    """Entropy of the class probabilities in bits, -sum_k p_k log2 p_k.

    Source: Shannon (1948), A Mathematical Theory of Communication; as a guidance metric in guided retraining.
    """

    tag = "entropy"

    def values(self, learnt: Arrays, seen: Activations, own: NDArray[np.int64], rng: np.random.Generator) -> Scores:
        chances = _Chances(seen)
        total = np.log1p(chances.rest)
        # A class of probability 0 contributes 0, though its logarithm is infinite.
        behind = np.where(chances.others > 0, chances.behind, 0.0)
        nats = total / (1 + chances.rest) + (chances.others * (total[:, None] - behind)).sum(axis=1)
        bits: Scores = nats / np.log(2)
        return bits


@dataclass(frozen=True, kw_only=True)
class Margin(Score):
    """Closeness of the second class to the first, 1 - (p_first - p_second).

    Source: Scheffer, Decomain and Wrobel (2001), Active Hidden Markov Models for Information Extraction.
    """

    tag = "margin"

    def values(self, learnt: Arrays, seen: Activations, own: NDArray[np.int64], rng: np.random.Generator) -> Scores:
        chances = _Chances(seen)
        nearness: Scores = (chances.rest + chances.odds.max(axis=1)) / (1 + chances.rest)
        return nearness


@dataclass(frozen=True, kw_only=True)
class LeastConfidence(Score):
    """Probability of all classes but the predicted one, 1 - max_k p_k.

    Source: Lewis and Gale (1994), A Sequential Algorithm for Training Text Classifiers; Hendrycks and Gimpel (2017), A
    Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks.
    """

    tag = "least_confidence"

    def values(self, learnt: Arrays, seen: Activations, own: NDArray[np.int64], rng: np.random.Generator) -> Scores:
        rest = _Chances(seen).rest
        return rest / (1 + rest)
