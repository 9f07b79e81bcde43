"""A classifier that was retrained, with the size of its training data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from temper.core.artefacts import read_json, write_json
from temper.core.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """The retraining data: the number of ``inputs``, of which ``adversarial``, out of those ``available``."""

    inputs: int
    adversarial: int
    available: int
    note: str = ""


class Retrained(Classifier):
    """A classifier that records its retraining data."""

    kind: ClassVar[str] = "retrained"

    def __init__(self, model: Any, trained_on: TrainedOn) -> None:
        super().__init__(model)
        self.trained_on = trained_on

    def save(self, folder: Path) -> None:
        super().save(folder)
        write_json(folder / "trained_on.json", asdict(self.trained_on))

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(Classifier.load(folder).model, TrainedOn(**read_json(folder / "trained_on.json")))
