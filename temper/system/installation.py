"""Where Temper itself is: its package, the folder that Python finds it in, and its checkout if it runs from one."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder of the package ``temper``."""
IMPORT_FOLDER = PACKAGE.parent
"""What ``sys.path`` must hold for ``import temper``."""
CHECKOUT = IMPORT_FOLDER if (IMPORT_FOLDER / "runner.py").is_file() else None
"""The folder of ``runner.py``; ``None`` where Temper is installed."""
