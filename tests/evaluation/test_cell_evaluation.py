"""The cells of evaluations of models, sets of examples, or pairs of these, and their labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from temper.core.artefacts import Artefact, Row
from temper.core.component import Ref
from temper.core.run import Run
from temper.evaluation.cell_evaluation import AttackedModels, CellEvaluation, FittedToModels


@dataclass(frozen=True, kw_only=True)
class Sets(CellEvaluation):
    """Own."""

    cells = (("sets", "examples"),)

    sets: Annotated[tuple[Ref[Artefact], ...], "sets"]

    def measure(self, run: Run) -> Iterable[Row]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Pairs(AttackedModels):
    """Own."""

    reads_originals = True

    examples: Annotated[tuple[Ref[Artefact], ...], "examples"]

    def measure(self, run: Run) -> Iterable[Row]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Fitted(FittedToModels):
    """Own."""

    def measure(self, run: Run) -> Iterable[Row]:
        raise NotImplementedError


MODELS: tuple[Ref[Any], ...] = (Ref("a"), Ref("b"))
SETS: tuple[Ref[Any], ...] = (Ref("x"), Ref("y", "train"))


def test_a_cell_has_one_reference_and_its_label() -> None:
    cells = list(Sets(sets=SETS).expand())
    assert [cell.sets for cell in cells] == [(Ref("x"),), (Ref("y", "train"),)]
    assert [cell.about() for cell in cells] == [{"examples": "x"}, {"examples": "y.train"}]


def test_each_pair_has_a_cell_in_which_the_examples_vary_fastest() -> None:
    cells = list(Pairs(models=MODELS, examples=SETS, protocol="transfer").expand())
    assert [tuple(cell.about().values()) for cell in cells] == [
        ("a", "x"),
        ("a", "y.train"),
        ("b", "x"),
        ("b", "y.train"),
    ]
    assert [cell.examples for cell in cells[:2]] == [(Ref("x"),), (Ref("y", "train"),)]


def test_white_box_examples_are_regenerated_against_the_model_of_the_cell() -> None:
    cells = list(Pairs(models=MODELS, examples=SETS).expand())
    assert [cell.examples[0].against for cell in cells] == ["a", "a", "b", "b"]
    assert [cell.models[0].against for cell in cells] == [None] * 4


def test_the_originals_of_a_cell_are_among_what_it_reads() -> None:
    (cell,) = Pairs(models=MODELS[:1], examples=SETS[1:]).expand()
    assert cell.originals == (Ref("y", "train", "a", clean=True),)
    assert set(cell.references()) == {Ref("a"), Ref("y", "train", "a"), *cell.originals}


def test_only_what_is_fitted_reads_training_images_by_default() -> None:
    assert [Fitted(models=MODELS).part_of(name) for name in ("data", "examples")] == ["train", "test"]
