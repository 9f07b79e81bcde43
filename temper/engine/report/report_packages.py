"""What the report leaves out where the packages that draw it are not installed."""

from __future__ import annotations

from temper.system import packages

FIGURES, PAGE = "matplotlib", "jinja2"


def drawn() -> bool:
    """Return whether figures can be drawn."""
    return not packages.missing([FIGURES])


def has_page() -> bool:
    """Return whether the page can be written."""
    return not packages.missing([PAGE])


def lacking() -> str:
    """Return what a report lacks, and what to type, in a sentence; empty: nothing."""
    parts = [text for there, text in ((drawn(), "figures"), (has_page(), "report.html")) if not there]
    return f"no {' and no '.join(parts)} can be written: {packages.advice([FIGURES, PAGE])}" if parts else ""
