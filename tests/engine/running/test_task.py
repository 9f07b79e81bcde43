"""The artefact cache of a process: bounded, and with it the number of open files."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from temper.core.artefacts import Examples
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.running import task
from temper.engine.storage.store import Store


@pytest.mark.skipif(sys.platform != "linux", reason="which files a process maps is asked of Linux")
def test_only_recently_read_artefacts_keep_files_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalogue: Catalogue
) -> None:
    monkeypatch.setattr(task, "_CACHE_OF_ARTEFACTS", task._ArtefactCache(max_bytes=2**20, max_artefacts=3))
    store = Store(tmp_path)
    names = [f"{i:024d}" for i in range(12)]
    for name in names:
        examples = Examples(np.zeros((2, 3, 3, 1), np.float32), np.zeros(2, np.int64), np.arange(2))
        store.publish(name, examples, {"stage": "s", "cost": {}})
    for name in names:
        task._CACHE_OF_ARTEFACTS.get(store, name, catalogue)
    gc.collect()
    mapped = {Path(m.path).parent.name for m in psutil.Process().memory_maps(grouped=True) if str(tmp_path) in m.path}
    assert mapped == set(names[-3:])
    kept = task._CACHE_OF_ARTEFACTS.get(store, names[-3], catalogue)
    assert task._CACHE_OF_ARTEFACTS.get(store, names[-3], catalogue) is kept
