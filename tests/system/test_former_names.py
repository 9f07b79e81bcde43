"""The table of former names leads to what there is."""

import pytest

from temper.system import former_names
from temper.system.former_names import RENAMED


@pytest.mark.parametrize("name", RENAMED.values())
def test_what_has_another_name_today_exists(name: str) -> None:
    modules = former_names._modules()
    assert any(module.rpartition(".")[2] == name or name in former_names._defined(module) for module in modules)
