"""``npgcheck prove``: finds the proof files, runs them, reports what was found.

The files are in ``proofs/`` of a source checkout and in ``npgcheck/_proofs`` of an installed
wheel. Each defines one ``CLAIM``.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from npgcheck.derivation.claim import Claim, Status
from npgcheck.derivation.evidence import ClaimResult, StatementResult, check_claim
from npgcheck.derivation.language import DerivationError
from npgcheck.derivation.words import Words
from npgcheck.errors import UsageError, nearest

_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class ProveReport:
    """What `run` found out.

    Attributes:
        results: one per claim, used claims before those that use them.
        seconds: time spent.
    """

    results: tuple[ClaimResult, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Nothing is refuted and no planted fault survived."""
        return all(r.status is not Status.REFUTED and not r.survivors for r in self.results)

    @property
    def exit_code(self) -> int:
        return 0 if self.passed else 1


def proofs_directory() -> Path:
    """The folder of the proof files, in a wheel or in a source checkout."""
    for folder in (_PACKAGE / "_proofs", _PACKAGE.parent / "proofs"):
        if folder.is_dir():
            return folder
    raise UsageError(
        f"no proof files: neither {_PACKAGE / '_proofs'} nor {_PACKAGE.parent / 'proofs'} exists. "
        "Install npgcheck from its wheel, or run from a source checkout."
    )


def load(folder: Path | None = None) -> dict[str, Claim]:
    """The claims of all proof files, by id, used ones first."""
    folder = folder or proofs_directory()
    found: dict[str, Claim] = {}
    for path in sorted(folder.glob("[!_]*.py")):
        claim = _load_file(path)
        if claim.id in found:
            raise DerivationError(f"{path.name}: the id {claim.id!r} is taken by another file")
        found[claim.id] = claim
    return _ordered(found)


def _load_file(path: Path) -> Claim:
    name = f"npgcheck_proofs_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise DerivationError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    claim = getattr(module, "CLAIM", None)
    if not isinstance(claim, Claim):
        raise DerivationError(f"{path.name} defines no CLAIM")
    return claim


def _ordered(claims: dict[str, Claim]) -> dict[str, Claim]:
    out: dict[str, Claim] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise DerivationError(f"a circle of uses: {' → '.join((*path, name))}")
        if name not in claims:
            raise DerivationError(f"{path[-1]} uses {name!r}, which no proof file defines")
        for used in claims[name].uses:
            visit(used, (*path, name))
        out.setdefault(name, claims[name])

    for name in claims:
        visit(name, ())
    return out


def run(
    ids: Iterable[str] | None = None,
    progress: Callable[[str], None] | None = None,
    folder: Path | None = None,
) -> ProveReport:
    """Judges the claims, and those that they use.

    Args:
        ids: which claims; None or empty means all.
        progress: called with a line about each claim before it is judged.
        folder: where the proof files are; by default the project's own.

    Raises:
        UsageError: an unknown id.
    """
    claims = load(folder)
    wanted: set[str] = set()

    def want(name: str) -> None:
        wanted.add(name)
        for used in claims[name].uses:
            want(used)

    for name in list(ids or ()) or list(claims):
        if name not in claims:
            raise UsageError(
                f"there is no claim {name!r}.{nearest(name, claims)} Known: {', '.join(claims)}."
            )
        want(name)
    start = time.perf_counter()
    known: dict[str, Status] = {}
    results: list[ClaimResult] = []
    for name, claim in claims.items():
        if name in wanted:
            if progress is not None:
                progress(f"{len(results) + 1} of {len(wanted)} claims · {name}")
            results.append(check_claim(claim, known))
            known[name] = results[-1].status
    return ProveReport(tuple(results), time.perf_counter() - start)


def to_text(report: ProveReport) -> str:
    """The report as text: one line per statement, what was refuted, what survived."""
    lines = []
    for r in report.results:
        lines += [f"{r.claim.id} · {r.claim.title}", ""]
        for s in r.statements:
            sizes = _sizes(s)
            lines.append(f"  {s.statement.name:<20} {s.status.text:<16} {sizes}")
            for step in s.steps:
                for e in step.evidence:
                    if e.outcome == "refuted":
                        lines.append(f"      refuted: {step.step.why}: {e.note}")
            if s.sign is not None:
                verdict = "cannot be negative" if s.sign[0].outcome == "holds" else s.sign[0].note
                lines.append(f"      right-hand side: {verdict}")
            for mistake, where in s.mistakes:
                verdict = "refuted at " + where if where else "NOT REFUTED"
                lines.append(f"      mistake: {mistake}: {verdict}")
        for assumption, where in r.dropped:
            verdict = "fails at " + where if where else "STILL HOLDS"
            lines.append(f"      with {assumption.instead}: {verdict}")
        lines += [f"      SURVIVED: {name}" for name in r.survivors]
        refuted = r.planted - len(r.survivors)
        lines += [
            "",
            f"  {r.status.text} · {refuted} of {r.planted} planted faults refuted"
            + (f" · uses {', '.join(r.claim.uses)}" if r.claim.uses else "")
            + f" · {r.seconds:.1f} s",
            f"  {r.claim.covers}",
            "",
        ]
    bad = sum(r.status is Status.REFUTED or bool(r.survivors) for r in report.results)
    proved = sum(r.status is Status.PROVED for r in report.results)
    lines.append(
        f"{len(report.results)} claims, {proved} proved for every size, {bad} failed"
        f"{report.seconds:>12.1f} s"
    )
    return "\n".join(lines)


def _sizes(s: StatementResult) -> str:
    """How many sizes settled it: the largest N of the cutoff lemma over the steps."""
    complete = [e for st in s.steps for e in st.evidence if e.complete and e.outcome == "holds"]
    if len(complete) < len(s.steps):
        return "no complete method applies"
    if isinstance(s.statement.setting, Words):
        return f"every {s.statement.setting.size_text}: {complete[0].note}"
    bounds: dict[str, int] = {}
    for e in complete:
        for size, n in e.bounds:
            bounds[size] = max(n, bounds.get(size, 1))
    return f"every {', '.join(bounds)}, settled by {_limits(bounds.items())}"


def _limits(bounds: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{size} ≤ {n}" for size, n in bounds)
