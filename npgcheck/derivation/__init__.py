"""Derivations: equations over index sums, checked for every size by methods that can say no.

`language` says what may be written, `claim` what a proof file defines, `cutoff` why finitely many
sizes are enough, `evidence` what was found, and `prove` runs the files in ``proofs/``.
"""

from npgcheck.derivation.claim import Assumption, Claim, Statement, Status, Step
from npgcheck.derivation.language import (
    FAIR_SIGN,
    STANDARD_NORMAL,
    Coefficient,
    DerivationError,
    Expect,
    GaussianMean,
    OutOfClass,
    Partial,
    Setting,
    bound,
    delta,
    free,
)
from npgcheck.derivation.words import D, T, Trace, Words

__all__ = [
    "FAIR_SIGN",
    "STANDARD_NORMAL",
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
