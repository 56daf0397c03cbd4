"""All planted mistakes of a step."""

from __future__ import annotations

from npgcheck.step.controls.wrong import MISTAKES as PARTS
from npgcheck.step.controls.wrong import Mistake
from npgcheck.step.controls.wrong_divergences import DIVERGENCES
from npgcheck.step.controls.wrong_lengths import LENGTHS
from npgcheck.step.controls.wrong_parts import PARTS_OF_F
from npgcheck.step.controls.wrong_products import PRODUCTS
from npgcheck.step.controls.wrong_readings import READINGS
from npgcheck.step.controls.wrong_solves import SOLVES
from npgcheck.step.controls.wrong_spectral import SPECTRAL
from npgcheck.step.controls.wrong_systems import SYSTEMS

MISTAKES: tuple[Mistake, ...] = (
    *PARTS,
    *READINGS,
    *PRODUCTS,
    *DIVERGENCES,
    *SOLVES,
    *SPECTRAL,
    *SYSTEMS,
    *PARTS_OF_F,
    *LENGTHS,
)
