"""The stage: a component that stands in a section of the experiment file and returns an artefact; and what it learns before."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from temper.core.artefacts import Artefact
from temper.core.component import Component
from temper.core.run import Run


class Stage(Component):
    """A component that stands in a section of the experiment file and returns an artefact."""

    section: ClassVar[str]
    produces: ClassVar[type[Artefact]]
    framework: ClassVar[bool] = True
    """Whether the work takes a framework, which is then imported before its cost is measured."""

    def preparations(self) -> Mapping[str, Preparation]:
        """Return what has to be learnt, counted or observed before the work, each under the name ``run.prepared`` knows.

        Called on a component whose references say which part they mean. A stage that does not depend on the seed must
        not prepare what does.
        """
        return {}

    def stream(self, stage: str) -> str:
        """Return the name that the random stream derives from beside the seed: by default that of the stage in the file.

        Stages of one stream draw the same numbers, so that they differ by what they do and not by chance.
        """
        return stage

    def equivalent(self) -> Stage:
        """Return the component that is computed for this one and all others whose artefact is the same.

        Called on a component whose references say which part they mean.
        """
        return self

    @abstractmethod
    def produce(self, run: Run) -> Artefact:
        """Do the work and return the artefact."""

    def review(self, made: Artefact, run: Run) -> None:
        """Remark (``run.remark``) on the artefact that ``produce`` returned; its code is not part of the fingerprint."""


class Preparation(Stage):
    """Work that a stage needs done before its own, in no section of a file: the stage makes it of its own parameters.

    It is a work of its own, made once for all stages, parts and cells whose preparations are equal. Its fields are
    what it depends on, so leave out what only the stage itself reads.
    """

    section = "prepare"

    @classmethod
    def of(cls, stage: Component, **values: Any) -> Self:
        """Return the preparation with the fields that a stage has too taken from it, but for ``values``."""
        shared = {f.name for f in dataclasses.fields(cls)} & {f.name for f in dataclasses.fields(stage)}  # type: ignore[arg-type]
        return cls(**({name: getattr(stage, name) for name in shared} | values))
