from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from temper.core.artefacts import Examples
from temper.core.augmenter import Augmented, Augmenter, AugmenterContext, Seeds
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.stage import Preparation
from temper.generators.augmenters.added_noise import AddedNoise
from temper.generators.augmenters.occlusion import SyntheticOcclusion
from temper.generators.augmenters.one_of import OneOf
from tests.generators.augmenter_contexts import context, seeds


@dataclass(frozen=True, kw_only=True)
class Paint(Augmenter):
    """Paints a column in a shade that becomes the label; refuses odd indices."""

    shade: int
    column: int
    masked: bool = True

    def preparations(self, model: Ref[Classifier], data: Ref[Examples]) -> Mapping[str, Preparation]:
        return {f"paint_{self.shade}": Any}  # type: ignore[dict-item]

    def augment(self, seeds: Seeds, context: AugmenterContext) -> Augmented:
        x, masks = seeds.x.copy(), np.zeros(seeds.x.shape[:3], bool)
        masks[:, :, self.column] = True
        x[masks] = self.shade / 10
        odd = {int(row): f"odd {self.shade}" for row in np.flatnonzero(seeds.index % 2)}
        return Augmented(x, np.full(len(seeds), self.shade), masks if self.masked else None, odd)


OF = seeds(np.zeros((300, 4, 4)), y=np.arange(300))


def test_each_image_comes_from_one_of_the_augmenters() -> None:
    paints = (Paint(shade=3, column=0), Paint(shade=7, column=2, masked=False))
    made = OneOf(of=paints).augment(OF, context())
    assert set(made.y) == {3, 7}
    assert made.masks is not None
    for paint in paints:
        rows = np.flatnonzero(made.y == paint.shade)
        assert abs(len(rows) - 150) < 5 * np.sqrt(75)
        expected = paint.augment(OF.take(rows), context())
        np.testing.assert_array_equal(made.x[rows], expected.x)
        np.testing.assert_array_equal(made.masks[rows], expected.masks if paint.masked else np.ones((len(rows), 4, 4)))
        assert {row for row, why in made.refused.items() if why == f"odd {paint.shade}"} == set(rows[rows % 2 == 1])


def test_the_choice_depends_on_the_seed_and_its_variant() -> None:
    augmenter = OneOf(of=(Paint(shade=3, column=0), Paint(shade=7, column=2)))
    whole = augmenter.augment(OF, context()).y
    some = np.array([8, 2, 77])
    np.testing.assert_array_equal(augmenter.augment(OF.take(some), context()).y, whole[some])
    again = augmenter.augment(seeds(OF.x, variant=np.ones(300)), context()).y
    assert abs((again != whole).mean() - 0.5) < 0.15


def test_the_preparations_of_all_augmenters_are_declared() -> None:
    augmenter = OneOf(of=(Paint(shade=3, column=0), Paint(shade=7, column=2)))
    assert set(augmenter.preparations(Ref("m"), Ref("d"))) == {"paint_3", "paint_7"}
    two = OneOf(of=(SyntheticOcclusion(bank=3), SyntheticOcclusion(bank=4)))
    assert len(two.preparations(Ref("m"), Ref("d"))) == 2


def test_one_augmenter_is_rejected() -> None:
    ((field, message),) = OneOf(of=(AddedNoise(),)).check()
    assert field == "of"
    assert "two or more" in message
