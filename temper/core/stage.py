"""Stages, the components in the sections of an experiment file that return artefacts, and their preparations."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from temper.core.artefacts import Artefact
from temper.core.component import Component
from temper.core.run import Run


class Stage(Component):
    """A component in a section of the experiment file that returns an artefact."""

    section: ClassVar[str]
    produces: ClassVar[type[Artefact]]
    framework: ClassVar[bool] = True
    """Whether the stage uses a framework, which is then imported before its cost is measured."""

    def preparations(self) -> Mapping[str, Preparation]:
        """Return the tasks that must finish first, by their names for ``run.prepared``.

        They fit, count or read activations. Called on a component whose references have explicit parts. A stage that does not depend on the seed must not
        have preparations that do.
        """
        return {}

    def stream(self, stage: str) -> str:
        """Return the name that, with the seed, determines the random stream: by default the stage's name in the file.

        Stages with one stream draw the same numbers, so that they do not differ by chance.
        """
        return stage

    def equivalent(self) -> Stage:
        """Return the component computed for this one and all others with the same artefact.

        Called on a component whose references have explicit parts.
        """
        return self

    @abstractmethod
    def produce(self, run: Run) -> Artefact:
        """Compute and return the artefact."""

    def review(self, artefact: Artefact, run: Run) -> None:
        """Add remarks (``run.remark``) on the artefact of ``produce``; this code is not part of the fingerprint."""


class Preparation(Stage):
    """A task that a stage depends on and derives from its own parameters; it is in no section of a file.

    It is a separate task, run once for all stages, parts and cells whose preparations are equal. Its fields are
    what it depends on, so omit what only the stage itself reads.
    """

    section = "prepare"

    @classmethod
    def of(cls, stage: Component, **values: Any) -> Self:
        """Return the preparation with the fields it shares with a stage taken from that stage, except ``values``."""
        # Shared by name, so that equal settings give equal preparations, which are computed once.
        shared = {f.name for f in dataclasses.fields(cls)} & {f.name for f in dataclasses.fields(stage)}  # type: ignore[arg-type]
        return cls(**({name: getattr(stage, name) for name in shared} | values))
