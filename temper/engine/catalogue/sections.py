"""The sections of an experiment file, in their order, and the family each holds."""

from __future__ import annotations

from temper.core.dataset import Dataset
from temper.core.families import Evaluation, Generator, Localiser, Repair, Target
from temper.core.stage import Preparation, Stage

SECTIONS: dict[str, type[Stage]] = {
    family.section: family for family in (Dataset, Target, Localiser, Generator, Repair, Evaluation)
}
FAMILIES: dict[str, type[Stage]] = SECTIONS | {Preparation.section: Preparation}
"""Every family whose members run as tasks: those of a file's sections, and those of preparations."""
