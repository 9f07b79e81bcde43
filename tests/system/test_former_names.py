"""The table of former names leads to what there is."""

import pytest

from temper.system import former_names
from temper.system.former_names import RENAMED


@pytest.mark.parametrize("name", RENAMED.values())
def test_what_has_another_name_today_exists(name: str) -> None:
    modules = former_names._modules()
    assert any(module.rpartition(".")[2] == name or name in former_names._defined(module) for module in modules)


@pytest.mark.parametrize(
    ("module", "name", "today"),
    [
        ("core.batchwise", "filled", ("temper.core.resumable_batches", "fill_in_batches")),
        ("core.faults", "nearest", ("temper.core.errors", "did_you_mean")),
        ("core.faults", "TooLittleLearnt", ("temper.core.errors", "UndertrainedModelError")),
        ("core.augmenter", "Prepared", ("temper.core.augmenter", "FittedComponent")),
        ("core.networks.copies", "like", ("temper.nn.editing.copies", "clone_layer")),
        ("core.images.stratify", "drawn", ("temper.nn.images.stratified_sample", "sample")),
    ],
)
def test_a_former_name_leads_to_its_module_and_name(module: str, name: str, today: tuple[str, str]) -> None:
    assert former_names._place_of(module, name) == today
