"""The stage: a component that stands in a section of the experiment file and returns an artefact."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from core.artefacts import Artefact
from core.component import Component
from core.run import Run


class Stage(Component):
    """A component that stands in a section of the experiment file and returns an artefact."""

    section: ClassVar[str]
    produces: ClassVar[type[Artefact]]
    framework: ClassVar[bool] = True
    """Whether the work takes a framework, which is then imported before its cost is measured."""

    @abstractmethod
    def produce(self, run: Run) -> Artefact:
        """Do the work and return the artefact."""
