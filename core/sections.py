"""The sections of an experiment file, in their order, and the family each holds."""

from __future__ import annotations

from core.dataset import Dataset
from core.families import Evaluation, Generator, Localiser, Repair, Target
from core.stage import Stage

SECTIONS: dict[str, type[Stage]] = {
    family.section: family for family in (Dataset, Target, Localiser, Generator, Repair, Evaluation)
}
