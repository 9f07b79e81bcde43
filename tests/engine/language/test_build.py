"""From plain values to components and back."""

from __future__ import annotations

from typing import Any

from temper.core.component import Ref
from temper.core.families import Generator
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.language.build import build, map_references, plain


def generator(raw: dict[str, Any], catalogue: Catalogue) -> Any:
    return build(catalogue.of(Generator)[raw["type"]], raw, catalogue)


SHIFT = {"type": "shift", "data": "grey.train", "noise": {"type": "drawn", "like": "grey"}, "seconds": 1}


def test_values_become_what_the_fields_say(catalogue: Catalogue) -> None:
    shift = generator(SHIFT, catalogue)
    assert (shift.data, shift.noise.like) == (Ref("grey", "train"), Ref("grey"))
    assert (shift.seconds, type(shift.seconds)) == (1.0, float)
    assert shift.counter is None
    pgd = generator({"type": "pgd", "model": "m", "eps": 1, "eps_step": 0.1, "max_iter": 2.0, "norm": 2.0}, catalogue)
    assert (pgd.max_iter, type(pgd.max_iter), type(pgd.norm)) == (2, int, int)


def test_plain_is_the_inverse_of_build_with_every_default(catalogue: Catalogue) -> None:
    shift = generator(SHIFT, catalogue)
    written = plain(shift)
    assert written == {
        "type": "shift",
        "data": "grey.train",
        "noise": {"type": "drawn", "like": "grey"},
        "seconds": 1.0,
        "counter": None,
    }
    assert generator(written, catalogue) == shift


def test_only_references_are_replaced(catalogue: Catalogue) -> None:
    shift = generator(SHIFT, catalogue)
    seen: list[tuple[str, str]] = []

    def change(field: str, ref: Ref[Any]) -> Ref[Any]:
        seen.append((field, str(ref)))
        return Ref("other")

    turned = map_references(shift, change)
    assert seen == [("data", "grey.train"), ("like", "grey")]
    assert [ref.stage for ref in turned.references()] == ["other", "other"]
    assert (shift.data.stage, turned.seconds) == ("grey", 1.0)
    assert map_references(shift, lambda _, ref: ref) is shift


def test_fields_are_given_before_references_are_replaced(catalogue: Catalogue) -> None:
    pgd = generator({"type": "pgd", "model": "m", "eps": 1, "eps_step": 0.1, "max_iter": 2}, catalogue)
    assert map_references(pgd, lambda _, ref: ref, data=None) is pgd
    bound = map_references(pgd, lambda _, ref: Ref(ref.stage, "test"), data=Ref("grey"))
    assert (bound.data, bound.model, bound.eps) == (Ref("grey", "test"), Ref("m", "test"), 1)
