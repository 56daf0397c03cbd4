"""Numbers and lists as a reader of a report wants them: every rendering uses these."""

from __future__ import annotations

import math
from collections.abc import Sequence

from npgcheck.conformance.report import (
    CheckResult,
    Counterexample,
    Diagnosis,
    QuantitySummary,
    Report,
)

_SYMBOL = {"damping": "λ", "cg_iterations": "k", "solver_rtol": "relative accuracy"}
_FAMILY = {"gaussian": "Gaussian", "mlp": "small networks", "own": "its own policy"}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def ordinal(number: int) -> str:
    """``2`` → ``"2nd"``."""
    if 10 <= number % 100 <= 20:
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def plural(number: int, noun: str) -> str:
    """``1, "problem"`` → ``"1 problem"``; ``2`` → ``"2 problems"``; ``quantity`` bends too."""
    many = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number} {noun if number == 1 else many}"


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def times(ratio: float) -> str:
    """A ratio in one significant digit: ``"12"``, ``"3×10⁷"``."""
    if not math.isfinite(ratio):
        return "∞"
    if ratio < 1000:
        return f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}"
    mantissa, exponent = f"{ratio:.0e}".split("e")
    return f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def small(value: float) -> str:
    """A small number in one digit: ``"3e-8"``."""
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def margin(found: Counterexample) -> str:
    """How far off the answer is: the error in budgets, and the digits that agree all the same."""
    if not all(map(math.isfinite, found.yours)):
        return "not a number" if any(map(math.isnan, found.yours)) else "infinite"
    if not math.isfinite(found.error_over_budget):
        return "no error is allowed here"
    agree = max(0.0, found.digits)
    return f"error {times(found.error_over_budget)} × budget, {agree:.1f} digits agree"


def diagnosis_text(diagnosis: Diagnosis) -> str:
    """The choice in words, with its estimated value; a convention or approximation says so."""
    text = diagnosis.note or diagnosis.choice.replace("-", " ")
    if diagnosis.value is not None and not diagnosis.note:
        symbol = _SYMBOL.get(diagnosis.stage, "")
        value = diagnosis.value
        number = f"{value:d}" if float(value).is_integer() and value >= 1 else f"{value:.4g}"
        text += f" {symbol} = {number}" if symbol else f" = {number}"
    return text if diagnosis.kind in ("free", "bug") else f"{text} ({diagnosis.kind})"


def formula_text(diagnosis: Diagnosis) -> str:
    """The name and the formula of a choice; its words where the atlas does not know it."""
    from npgcheck.conformance.choices import BY_NAME

    entry = BY_NAME.get(diagnosis.choice)
    return diagnosis_text(diagnosis) if entry is None else f"{entry.name}: {entry.formula}"


def mend_text(diagnosis: Diagnosis) -> str:
    """How to mend it."""
    from npgcheck.conformance.choices import BY_NAME

    entry = BY_NAME.get(diagnosis.choice)
    return "" if entry is None else entry.mend


def families_text(families: Sequence[str]) -> str:
    """``("tabular", "softmax")`` → ``"softmax, tabular and shared features"``."""
    softmax = [
        words
        for family, words in (("tabular", "tabular"), ("softmax", "shared features"))
        if family in families
    ]
    parts = [f"softmax, {listed(softmax)}"] if softmax else []
    return " · ".join([*parts, *(_FAMILY[f] for f in _FAMILY if f in families)])


def refutation(result: CheckResult) -> str:
    """Why a failing check fails, in a few words."""
    if result.explained_by:
        return f"explained by {result.explained_by}"
    if result.reason:
        return result.reason
    if result.refuted_after is not None:
        return f"refuted by the {ordinal(result.refuted_after)} problem"
    return "refuted"


def where_it_raised(traceback: str) -> str:
    """The innermost line of the subject's own code: ``my_npg.py, line 12, in score: 1 / 0``."""
    lines = traceback.splitlines()
    for index in range(len(lines) - 1, -1, -1):
        text = lines[index].strip()
        if text.startswith('File "') and text.count('"') >= 2:
            path, _, rest = text.removeprefix('File "').partition('", ')
            name = path.replace("\\", "/").rpartition("/")[2]
            after = lines[index + 1].strip() if index + 1 < len(lines) else ""
            code = f": {after}" if lines[index + 1 : index + 2] != [after] and after else ""
            return f"{name}, {rest}{code}"
    return ""


def is_known(report: Report, summary: QuantitySummary) -> bool:
    """Whether everything that fails of a quantity is a declared known failure."""
    failing = [r for r in summary.results if r.status == "fail"]
    return bool(failing) and all(r.id in report.known_failures for r in failing)


def counts_text(report: Report) -> str:
    """``2 passed · 1 deviates · 2 failed (1 mistake) · 14 not covered``."""
    counts = report.counts
    known = sum(is_known(report, q) for q in report.quantities)
    mine = sum(is_known(report, q) and not q.explained_by for q in report.quantities)
    failed, mistakes = counts.get("fail", 0) - known, counts.get("mistakes", 0) - mine
    parts = []
    if counts.get("pass", 0) or not (failed or known or counts.get("deviates", 0)):
        parts.append(f"{counts.get('pass', 0)} passed")
    if number := counts.get("deviates", 0):
        parts.append(f"{number} {'deviates' if number == 1 else 'deviate'}")
    if failed:
        parts.append(f"{failed} failed" + (f" ({plural(mistakes, 'mistake')})" if mistakes else ""))
    if known:
        parts.append(f"{plural(known, 'known failure')}")
    if number := counts.get("skip", 0):
        parts.append(f"{number} skipped")
    if number := counts.get("not_covered", 0):
        parts.append(f"{number} not covered")
    return " · ".join(parts)


def pair_of_rows(found: Counterexample, room: int) -> tuple[str, str, str]:
    """Both answers with just enough digits to show that they differ, cut to the room there is.

    Returns:
        The subject's row, the exact row, and which entries they are where not all are shown.
    """
    yours, exact = list(found.yours), list(found.exact)
    if len(yours) != len(exact) or not exact:
        return _row(yours[:6], 5, len(yours) > 6), _row(exact[:6], 5, len(exact) > 6), ""
    gaps = [_gap(a, b) for a, b in zip(yours, exact, strict=True)]
    # The first of equals: rounding must not decide which entries are shown.
    worst = next(i for i, gap in enumerate(gaps) if gap >= (1 - 1e-9) * max(gaps))
    digits = _digits_to_differ(yours[worst], exact[worst])
    width = max(len(_number(x, digits)) for x in (*yours, *exact)) + 2
    fit = max(1, min(len(exact), (room - 6) // width))
    start = 0 if worst < fit else min(worst - fit // 2, len(exact) - fit)
    cut = slice(start, start + fit)
    more = start + fit < len(exact)
    width -= 2
    where = f"entries {start + 1}–{start + fit} of {len(exact)}" if start else ""
    rows = (_row(yours[cut], digits, more, width), _row(exact[cut], digits, more, width))
    return *rows, where


def _gap(a: float, b: float) -> float:
    return math.inf if not math.isfinite(a - b) else abs(a - b)


def _digits_to_differ(a: float, b: float) -> int:
    """Significant digits, at least 4, at which two numbers are seen to differ by 2 places."""
    if not (math.isfinite(a) and math.isfinite(b)) or a == b:
        return 4
    size = max(abs(a), abs(b))
    return min(17, max(4, 2 + math.ceil(math.log10(size / abs(a - b)))))


def _number(value: float, digits: int) -> str:
    if not math.isfinite(value):
        return str(value)
    if value == 0.0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.{max(0, digits - max(0, math.floor(math.log10(abs(value))) + 1))}f}"
    return f"{value:.{digits - 1}e}"


def _row(values: Sequence[float], digits: int, more: bool, width: int = 0) -> str:
    if len(values) == 1 and not more:
        return _number(values[0], digits)
    body = "  ".join(f"{_number(v, digits):>{width}}" for v in values)
    return f"[ {body}{'  …' if more else ''} ]"
