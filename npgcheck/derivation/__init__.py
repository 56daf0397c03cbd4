"""Derivations: equations over index sums, checked for every size by methods that can say no.

`language` and `setting` say what may be written, `claim` what a proof file defines, `cutoff` why
finitely many sizes are enough, `judges` who decides, `evidence` what was found, and `prove` runs
the files in ``proofs/``.
"""

from npgcheck.derivation.claim import Assumption, Claim, Statement, Status, Step
from npgcheck.derivation.language import (
    Along,
    Coefficient,
    DerivationError,
    Expect,
    GaussianMean,
    OutOfClass,
    Partial,
    bound,
    delta,
    free,
)
from npgcheck.derivation.laws import (
    FAIR_SIGN,
    NORMAL_TO_DEGREE_7,
    STANDARD_NORMAL,
    TWICE_A_FAIR_SIGN,
)
from npgcheck.derivation.setting import Setting
from npgcheck.derivation.words import D, T, Trace, Words

__all__ = [
    "FAIR_SIGN",
    "NORMAL_TO_DEGREE_7",
    "STANDARD_NORMAL",
    "TWICE_A_FAIR_SIGN",
    "Along",
    "Assumption",
    "Claim",
    "Coefficient",
    "D",
    "DerivationError",
    "Expect",
    "GaussianMean",
    "OutOfClass",
    "Partial",
    "Setting",
    "Statement",
    "Status",
    "Step",
    "T",
    "Trace",
    "Words",
    "bound",
    "delta",
    "free",
]
