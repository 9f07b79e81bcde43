"""A checked experiment: how often it calls its components."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from temper.engine.language.experiment import Experiment
from tests.conftest import PLAIN
from tests.parts.plain import Plain


def test_a_data_set_reports_its_metadata_once(
    experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To know, a folder of images lists all its files."""
    calls: list[Plain] = []
    original = Plain.source_info

    def source_info(self: Plain) -> object:
        calls.append(self)
        return original(self)

    monkeypatch.setattr(Plain, "source_info", source_info)
    checked = experiment(PLAIN)
    before = len(calls)
    assert before <= 3  # for what it is, and to check it
    assert checked.info("grey", {}).class_names == ("dark", "light")
    assert checked.info("grey", {"seed": 2}) is checked.info("grey", {"by": 0.1})
    assert len(calls) == before
