"""Small handwritten digits that come with Temper: no download."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from temper.core.data_info import DataInfo
from temper.core.dataset import Dataset, Source
from temper.nn.images.stratified_sample import stratified

_FILE = Path(__file__).with_name("digits.csv.gz")
"""scikit-learn's file (UCI, CC BY 4.0): each line has the 64 pixels of an image, from 0 to 16, and its label."""


@dataclass(frozen=True, kw_only=True)
class Digits(Dataset):
    """Handwritten digits: 1,348 training and 449 test images, 8x8 grey, 10 classes.

    The set has no split: a stratified quarter, chosen by ``split_seed``, is the test part.

    Source: Alpaydin and Kaynak (1998), Optical recognition of handwritten digits (UCI), the test set, as in
    ``sklearn.datasets.load_digits``.
    """

    tag = "digits"

    test_images: ClassVar[int] = 449
    train_images: ClassVar[int] = 1348

    def files(self) -> Iterator[Path]:
        yield _FILE

    def source_info(self) -> DataInfo:
        return DataInfo((8, 8, 1), tuple("0123456789"))

    def source_sizes(self) -> tuple[int, int]:
        return self.train_images, self.test_images

    def load(self) -> Source:
        table = np.loadtxt(_FILE, delimiter=",")
        # Pixels of this data set go from 0 to 16.
        x, y = (table[:, :-1].reshape(-1, 8, 8, 1) / 16).astype(np.float32), table[:, -1].astype(np.int64)
        test = np.zeros(len(y), bool)
        test[stratified(y, self.test_images, np.random.default_rng([self.split_seed, len(y)]))] = True
        return (x[~test], y[~test]), (x[test], y[test])
