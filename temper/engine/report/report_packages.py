"""The parts of a report that cannot be written because packages are not installed."""

from __future__ import annotations

from temper.system import packages

FIGURES, PAGE = "matplotlib", "jinja2"


def can_draw() -> bool:
    """Return whether figures can be drawn."""
    return not packages.missing([FIGURES])


def can_write_page() -> bool:
    """Return whether the page can be written."""
    return not packages.missing([PAGE])


def missing_output() -> str:
    """Return which parts cannot be written, and how to install the packages; empty if all can."""
    parts = [part for present, part in ((can_draw(), "figures"), (can_write_page(), "report.html")) if not present]
    return f"no {' and no '.join(parts)} can be written: {packages.advice([FIGURES, PAGE])}" if parts else ""
