"""What was found out, as data: what ``npgcheck prove`` prints and the site is written from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import sympy as sp

from npgcheck.derivation.claim import Claim
from npgcheck.derivation.evidence import ClaimResult, StatementResult, StepResult
from npgcheck.derivation.judges import Evidence
from npgcheck.derivation.language import Partial
from npgcheck.derivation.latex import RELATIONS, definition_latex, latex, relation_latex
from npgcheck.derivation.prove import ProveReport
from npgcheck.derivation.setting import Family, Setting
from npgcheck.derivation.words import Words
from npgcheck.errors import UsageError

KINDS = {
    "log": "real; its exponential is the indeterminate",
    "positive": "positive",
    "real": "real",
    "random": "random",
}


def engine_digest() -> str:
    """SHA-256 over the source of the engine: evidence of another engine is not evidence."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\n" + path.read_bytes())
    return digest.hexdigest()


def to_json(report: ProveReport) -> dict[str, Any]:
    """The report as JSON-ready data: claims, statements as LaTeX, evidence, the graph of uses."""
    claims = [_claim(r) for r in report.results]
    return {
        "passed": report.passed,
        "seconds": round(report.seconds, 3),
        "engine": engine_digest(),
        "claims": claims,
        "graph": {
            "nodes": [{key: c[key] for key in ("id", "title", "status")} for c in claims],
            "edges": [[c["id"], used] for c in claims for used in c["uses"]],
        },
    }


def check_current(found: dict[str, Any], claims: dict[str, Claim]) -> None:
    """Whether recorded evidence is about these very claims, judged by this very engine.

    Raises:
        UsageError: it is not; says which claim changed.
    """
    again = "Run npgcheck prove --evidence FILE again."
    if found.get("engine") != engine_digest():
        raise UsageError(f"the evidence was found by another version of the engine. {again}")
    recorded = {c["id"]: c["digest"] for c in found["claims"]}
    for name, claim in claims.items():
        if name not in recorded:
            raise UsageError(f"there is no evidence about the claim {name!r}. {again}")
        if recorded[name] != claim.digest:
            raise UsageError(
                f"the claim {name!r} has changed since it was judged: its digest is "
                f"{claim.digest[:16]}, the evidence is about {recorded[name][:16]}. {again}"
            )
    for name in recorded:
        if name not in claims:
            raise UsageError(f"there is evidence about {name!r}, which is no claim. {again}")


def _claim(r: ClaimResult) -> dict[str, Any]:
    settings = {id(s.setting): s.setting for s in r.claim.statements}
    broken = {a.text: where for a, where in r.dropped}
    return {
        "id": r.claim.id,
        "title": r.claim.title,
        "status": r.status.text,
        "own_status": r.own.text,
        "source": r.claim.source,
        "assumptions": [
            {
                "text": a.text,
                "instead": a.instead,
                "breaks": a.breaks,
                "refuted_at": broken.get(a.text, ""),
            }
            for a in r.claim.assumptions
        ],
        "uses": list(r.claim.uses),
        "covers": r.claim.covers,
        "justifies": list(r.claim.justifies),
        "digest": r.claim.digest,
        "symbols": _merged([_symbols(s) for s in settings.values()]),
        "statements": [_statement(s) for s in r.statements],
        "controls": {
            "planted": r.planted,
            "refuted": r.planted - len(r.survivors),
            "survivors": list(r.survivors),
        },
        "seconds": round(r.seconds, 3),
    }


def _merged(tables: list[list[dict[str, str]]]) -> list[list[dict[str, str]]]:
    """Equal tables once: a statement may change the law of a setting and nothing that is shown."""
    return [rows for i, rows in enumerate(tables) if rows not in tables[:i]]


KNOWN = {"varies": "depends on θ", "symmetric": "symmetric", "nonnegative": "no entry below 0"}
DOMAINS = {"unit": "in [0, 1)", "positive": "positive", "real": "real"}


def _words(s: Words) -> list[dict[str, str]]:
    """Sizes, scalars, letters with shapes, definitions, and the equations that are assumed."""
    rows = [{"latex": size, "meaning": f"{means}, any"} for size, means in s.sizes.items()]
    for name, domain in s.scalars.items():
        meaning = f"{s.scalar_means[name]} ({DOMAINS[domain]})"
        rows.append({"latex": latex(sp.Symbol(name)), "meaning": meaning})
    for info in s.letters.values():
        known = [text for key, text in KNOWN.items() if getattr(info, key)]
        shape = f"{info.shape[0]} × {info.shape[1]}"
        meaning = f"{info.means} ({', '.join([shape, *known])})"
        rows.append({"latex": latex(info.symbol), "meaning": meaning})
    for name, d in s.definitions.items():
        rows.append({"latex": definition_latex(d), "meaning": s.meanings[name]})
    for e in s.equations.values():
        where = ", at this point" if e.point else ""
        rows.append(
            {"latex": relation_latex(e.lhs, "=", e.rhs), "meaning": f"assumed{where}: {e.name}"}
        )
    return rows


def _symbols(s: Setting | Words) -> list[dict[str, str]]:
    if isinstance(s, Words):
        return _words(s)
    rows = [{"latex": latex(size), "meaning": f"{means}, any"} for size, means in s.sizes.items()]
    rows += [
        {"latex": _family(f), "meaning": f"{s.meanings[name]} ({_kind(f)})"}
        for name, f in s.families.items()
    ]
    return rows + [
        {
            "latex": definition_latex(d),
            "meaning": s.meanings[name] + (", held fixed by derivatives" if d.frozen else ""),
        }
        for name, d in s.definitions.items()
    ]


def _kind(family: Family) -> str:
    return KINDS[family.kind] + ("; symmetric" if family.symmetric else "")


def _family(family: Family) -> str:
    """A member with indices, and the rule for its derivative where it is a function."""
    if family.slope is not None:
        indices, argument, derivative = family.slope
        member = family.base[indices] if indices else family.base
        variable = sp.IndexedBase(family.of)[argument]
        rule = f"{latex(Partial(member, variable))} = {latex(derivative)}"
        return rf"{latex(member)}, \quad {rule}"
    letters = [sp.Symbol(letter, integer=True) for letter in "abcd"[: len(family.sizes)]]
    return latex(family.base[letters] if letters else family.base)


def _statement(s: StatementResult) -> dict[str, Any]:
    st = s.statement
    equation = relation_latex(st.lhs, st.relation, st.rhs)
    wrong = dict(st.mistakes)
    return {
        "name": st.name,
        "title": st.title,
        "status": s.status.text,
        "latex": equation + (r" \ge 0" if st.nonnegative else ""),
        "lhs": latex(st.lhs),
        "relation": RELATIONS[st.relation],
        "rhs": latex(st.rhs),
        "nonnegative": None
        if s.sign is None
        else {
            "why": st.nonnegative,
            "evidence": _evidence(s.sign[0]),
            "flipped_sign_refuted": s.sign[1],
        },
        "mistakes": [
            {"name": name, "rhs": latex(wrong[name]), "refuted_at": where}
            for name, where in s.mistakes
        ],
        "steps": [_step(step) for step in s.steps],
    }


def _step(s: StepResult) -> dict[str, Any]:
    return {
        "why": s.step.why,
        "latex": relation_latex(s.step.lhs, s.step.relation, s.step.rhs),
        "relation": RELATIONS[s.step.relation],
        "rhs": latex(s.step.rhs),
        "status": s.status.text,
        "evidence": [_evidence(e) for e in s.evidence],
        "controls": {
            "planted": s.controls.planted,
            "refuted": s.controls.refuted,
            "equivalent": s.controls.equivalent,
            "survivors": list(s.controls.survivors),
        },
    }


def _evidence(e: Evidence) -> dict[str, Any]:
    return {
        "method": e.method,
        "outcome": e.outcome,
        "complete": e.complete,
        "bounds": dict(e.bounds),
        "cases": e.cases,
        "note": e.note,
        "seconds": round(e.seconds, 4),
    }
