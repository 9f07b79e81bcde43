"""Where Temper itself is: its package, the folder that Python finds it in, its checkout if it runs from one; its version and its command."""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder of the package ``temper``."""
IMPORT_FOLDER = PACKAGE.parent
"""What ``sys.path`` must contain for ``import temper``."""
CHECKOUT = IMPORT_FOLDER if (IMPORT_FOLDER / "runner.py").is_file() else None
"""The folder of ``runner.py``; ``None`` where Temper is installed."""


def version() -> str:
    """Return the version of Temper."""
    if CHECKOUT is None:
        from importlib import metadata  # here and below: a plan needs no version, and these take a tenth of its start

        return metadata.version("temper")
    import tomllib

    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def command() -> tuple[str, ...]:
    """Return how the command line was started, before its arguments, as a user would type it again."""
    started = Path(sys.argv[0])
    if started == PACKAGE / "__main__.py":
        return ("python", "-m", "temper")
    if started.suffix == ".py":
        return ("python", sys.argv[0])
    # Found on PATH, or by a path; Windows adds .exe.
    return ("temper",) if started.stem == "temper" else (sys.argv[0],)


def search_path() -> tuple[str, ...]:
    """Return what a process of this Python has to add to its search path to import Temper: nothing where it is installed."""
    return () if CHECKOUT is None else (str(CHECKOUT),)
