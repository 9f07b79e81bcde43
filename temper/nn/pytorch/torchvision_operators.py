"""Imports torchvision also where its compiled operators do not match the installed torch."""

from __future__ import annotations

import importlib
import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

_DECLARED = re.compile(r'(?:register_fake\("torchvision::|@register_meta\(")(\w+)"\)')


@lru_cache(maxsize=1)
def torchvision() -> Any:
    """Return torchvision.

    A CUDA build of torchvision next to a CPU build of torch cannot load its C++ operators (non-maximum suppression and others for
    detection) and raises on import. Classifiers need none of them, so the import is repeated with the operators declared.
    """
    try:
        return importlib.import_module("torchvision")
    except (RuntimeError, AttributeError) as error:
        if "torchvision" not in str(error):
            raise
    _declare()
    return importlib.import_module("torchvision")


_LIBRARIES: list[Any] = []
"""Declarations end with the object that made them."""


def _declare() -> None:
    import torch

    spec = importlib.util.find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).with_name("_meta_registrations.py").read_text(encoding="utf-8")
    _LIBRARIES.append(library := torch.library.Library("torchvision", "FRAGMENT"))
    for name in sorted(set(_DECLARED.findall(text))):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor x) -> Tensor")
