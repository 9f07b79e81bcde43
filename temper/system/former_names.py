"""Imports by the names Temper's modules and classes had before they became one package: what to write instead."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

from temper.system.installation import IMPORT_FOLDER, PACKAGE

FORMER_PACKAGES = ("core", "targets", "generators", "localisation", "repair", "evaluation", "clusters")
"""What stood at the top of the search path; today all of it is below ``temper``."""
_LIBRARY = ("core", "artefacts", "system", "nn", *FORMER_PACKAGES[1:])
_LIST = "the table of folders in CONTRIBUTING.md"
RENAMED = {
    # modules
    "faults": "errors",
    "threat": "threat_model",
    "statistics": "confidence_intervals",
    "comparison": "significance_tests",
    "batchwise": "resumable_batches",
    "stop": "stop_request",
    "litter": "hidden_files",
    "naming": "display_names",
    "retrained": "retrained_classifier",
    "incremental": "incremental_classifier",
    "probe": "units",
    "programs": "compiled_programs",
    "propagation": "lrp_rules",
    "relevance": "lrp",
    "finite": "finite_check",
    "rewire": "logits",
    "surgery": "unit_removal",
    "trainers": "compiled_steps",
    "fisher": "fisher_information",
    "arrays": "array_files",
    "image_file": "image_opening",
    "images": "preprocessing",
    "opencv": "opencv_resize",
    "stratify": "stratified_sample",
    "class_order": "class_order_check",
    "gradient": "fgsm_bim_pgd",
    "relevance_rules": "lrp_variants",
    "operations": "operation_kinds",
    "shapes": "mask_operations",
    "rectangles": "random_rectangles",
    "reduced": "reduced_models",
    "archive": "npz_archive",
    "labels": "label_check",
    "material": "reference_data",
    "scored": "score_order",
    "observation": "activation_readout",
    "ordering": "retraining_order",
    "priorities": "test_priority",
    "ball": "norm_balls",
    "protocol": "cell_evaluation",
    "geometry": "geometric_mutations",
    "pixels": "pixel_mutations",
    "spectrum": "hit_spectrum",
    "fidelity": "fidelity_gates",
    "keys": "hashed_patterns",
    "transfer": "hellinger_distance",
    "signs": "sign_pairs",
    "coverage.bounds": "unit_bounds",
    "coverage.clusters": "value_clusters",
    "coverage.table": "coverage_table",
    # classes and functions
    "Fault": "SpecProblem",
    "faults.nearest": "did_you_mean",
    "images.nearest": "resize_masks",
    "Premises": "WorkerEnv",
    "Fate": "WorkerExit",
    "FailedStart": "FailedJob",
    "named": "display_name",
    "Bench": "AugmenterContext",
    "Prepared": "FittedComponent",
    "pictured": "shown_rows",
    "verdicts": "shown_predictions",
    "honesty": "attack_facts",
    "WithPreparations": "FittedComponent",
    "TooLittleLearnt": "UndertrainedModelError",
    "CsvFault": "CsvError",
    "filled": "fill_in_batches",
    "part_of": "with_prefix",
    "step_fault": "step_problem",
    "pixel_fault": "pixel_problem",
    "size_fault": "size_problem",
    "label_fault": "label_problem",
    "stratify.drawn": "sample",
    "Streams": "ImageStreams",
    "Placed": "FolderDataset",
    "Archive": "NpzArchive",
    "observe": "read_activations",
    "NOT_LEARNT": "NOT_FITTED_ON",
    "coverage.NOTHING": "NO_CELL",
    "Doubt": "ClassMismatch",
    "doubt": "class_mismatch",
    "doubt_of": "mismatch_of",
    "check_answers": "check_outputs",
    "carried": "with_derivative",
    "carrying": "relevance_model",
    "carrying_units": "unit_relevance_model",
    "unit_batches": "unit_relevance_batches",
    "copies.like": "clone_layer",
    "copies.put": "set_weights",
    "copies.inherit": "copy_state",
    "surgery.without": "without_units",
    "incremental.among": "rivals_among",
    "incremental.within": "rivals_within_tasks",
    "incremental.answers": "predict_among_rivals",
    "incremental.side_by_side": "flat_weights",
    "Labelled": "LabelledImages",
    "images.Pictures": "ImageSource",
    "images.Preparation": "Preprocessing",
    "run.Origin": "DataOrigin",
    "run.Measured": "MeasuredValue",
    "rankings.NOBODY": "NO_UNIT",
    "material.Material": "ReferenceData",
    "scored.Scored": "InputScores",
    "scored.Ordered": "FaultOrder",
    "ordering.Order": "RetrainingOrder",
    "ordering.Ordering": "RetrainingOrdering",
    "observation.Observation": "ActivationReadout",
    "scoring.Scoring": "InputScoring",
    "beside": "temporary_name",
    "unfold": "with_separate_activations",
}
"""What the author of a component may have imported under another name; ``module.name`` where the name alone is ambiguous."""


def former_imports(path: Path, folders: Sequence[str] = ()) -> Iterator[tuple[int, str]]:
    """Yield the line of each import of a file by a former name, with what to write instead.

    Top-level packages of the user's, ``folders`` by name or anything else on the search path, may have those names. An import in
    a ``try`` is the user's own way to serve several versions.
    """
    tree = ast.parse(path.read_bytes())
    tried = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Try) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in tried:
            continue
        if isinstance(node, ast.ImportFrom) and not node.level and _is_former(node.module or "", folders):
            yield node.lineno, f"{node.module} is now part of temper; {_instead(node)}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if _is_former(alias.name, folders):
                    yield node.lineno, f"{alias.name} is now part of temper; {_module_instead(alias.name)}"


def _is_former(module: str, folders: Sequence[str]) -> bool:
    top = module.partition(".")[0]
    if top not in FORMER_PACKAGES or top in folders:
        return False
    spec = PathFinder.find_spec(top)
    # In a checkout two of them can still be found, and would be imported a second time.
    places = [] if spec is None else [Path(place).resolve() for place in spec.submodule_search_locations or ()]
    return spec is None or IMPORT_FOLDER / top in places


def _instead(node: ast.ImportFrom) -> str:
    module = node.module or ""
    found: dict[str, list[str]] = {}
    lost = []
    for alias in node.names:
        if place := _place_of(module, alias.name):
            found.setdefault(place[0], []).append(place[1] + (f" as {alias.asname}" if alias.asname else ""))
        else:
            lost.append(alias.name)
    parts = [f"from {place} import {', '.join(names)}" for place, names in found.items()]
    said = [f"write {'; '.join(parts)}"] if parts else []
    return "; ".join([*said, *([f"what has replaced {', '.join(lost)} is in {_LIST}"] if lost else [])])


def _place_of(module: str, name: str) -> tuple[str, str] | None:
    """Return the module that a name is imported from today, and the name; ``None`` if neither is known."""
    former = module.rpartition(".")[2]
    stem = RENAMED.get(former, former)
    renamed = RENAMED.get(f"{former}.{name}")  # such a name may mean something else today
    for today in [renamed] if renamed else dict.fromkeys((name, RENAMED.get(name, name))):
        homes = [place for place in _modules() if today in _defined(place)]
        near = [place for place in homes if place.rpartition(".")[2] == stem]
        if len(near or homes) == 1:
            return (near or homes)[0], today
        modules = [place for place in _modules() if place.rpartition(".")[2] == today]
        if len(modules) == 1:
            return modules[0].rpartition(".")[0], today
    return None


def _module_instead(module: str) -> str:
    stem = module.rpartition(".")[2]
    found = [place for place in _modules() if place.rpartition(".")[2] in (stem, RENAMED.get(stem, stem))]
    return f"write import {found[0]}" if len(found) == 1 else f"what has replaced it is in {_LIST}"


@cache
def _modules() -> dict[str, Path]:
    """Return the modules that components may import, by name, those of ``core`` first."""
    return {
        ".".join(["temper", *path.relative_to(PACKAGE).with_suffix("").parts]): path
        for room in _LIBRARY
        for path in sorted((PACKAGE / room).rglob("*.py"))
        if path.name != "__init__.py"
    }


@cache
def _defined(module: str) -> set[str]:
    found: set[str] = set()
    for node in ast.parse(_modules()[module].read_bytes()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found
