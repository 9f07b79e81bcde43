"""Makes every reference of a component explicit: its part, and the model that replaces another in it."""

from __future__ import annotations

import dataclasses
from typing import Any

from temper.core.artefacts import Data
from temper.core.component import Part, Ref
from temper.core.dataset import Dataset
from temper.core.families import Generator
from temper.core.stage import Stage
from temper.engine.language.axis_points import Point
from temper.engine.language.build import map_references
from temper.engine.language.experiment import Experiment
from temper.engine.language.reference_checks import target_of, typed


class Binding:
    """Binds the references of an experiment's components."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment

    def bind(self, component: Stage, part: Part | None, against: str | None, point: Point) -> Stage:
        """Return a component with every reference made explicit: its part, and the model that replaces another in it."""
        model = getattr(component, "model", None)
        own = model.stage if isinstance(model, Ref) else None
        whole = {ref for _, ref, target in typed(component) if target is Data}
        given: dict[str, Ref[Any]] = {}
        if self._lacks_data(component):
            given["data"] = Ref(self._experiment.dataset_of(component, point))
            whole |= {given["data"]} if target_of(component, "data") is Data else set()

        def explicit(field: str, ref: Ref[Any]) -> Ref[Any]:
            is_whole = ref in whole
            ref = self._turned(ref, own, against, point)
            cls = self._experiment.stages[ref.stage].cls
            if issubclass(cls, Generator | Dataset) and ref.part is None and not is_whole:
                meant = component.part_of(field)
                if meant == "definition":
                    return dataclasses.replace(ref, definition=True)
                # A generator reads the part of its data that is requested of it.
                ref = dataclasses.replace(ref, part=part if part and field == "data" else meant)
            return ref

        return map_references(component, explicit, **given)

    @staticmethod
    def _lacks_data(component: Stage) -> bool:
        """Whether a component uses its model's data set, because the file names no data."""
        return getattr(component, "data", component) is None

    def _turned(self, ref: Ref[Any], own: str | None, against: str | None, point: Point) -> Ref[Any]:
        """Return a reference of a component whose model is replaced: the new model, or what is derived from it."""
        spec = self._experiment.stages[ref.stage]
        if against is not None and own is not None:
            if ref.stage == own:
                return dataclasses.replace(ref, stage=against)
            if issubclass(spec.cls, Dataset):
                return ref
            if self._model_of(ref.stage, point) == own:
                return dataclasses.replace(ref, against=against)
        if ref.against and self._model_of(ref.stage, point) in (None, ref.against):
            # Computed without a model, or from this very one: nothing to recompute.
            return dataclasses.replace(ref, against=None)
        return ref

    def _model_of(self, stage: str, point: Point) -> str | None:
        model = getattr(self._experiment.component(stage, point), "model", None)
        return model.stage if isinstance(model, Ref) else None
