"""Who may import whom, and what `import npgcheck` may cost.

The direction is: cli, pytest_plugin → conformance → problems → certified, tolerance → natural →
fisher, gradient → exact → mdp, policy. `oracles` and `strategies` import `mdp` and `policy` only,
never what they check.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "npgcheck"

RANK = {
    "errors": 0,
    "_version": 0,
    "fields": 1,
    "streams": 1,
    "mdp": 2,
    "linear": 2,
    "policy": 3,
    "named_mdps": 3,
    "exact": 4,
    "lqr": 4,
    "average_reward": 5,
    "entropy": 5,
    "gae": 4,
    "distributions": 4,
    "fisher": 5,
    "gradient": 5,
    "natural": 6,
    "certified": 7,
    "tolerance": 7,
    "oracles": 7,
    "strategies": 7,
    "designs": 8,
    "batches": 8,
    "episodes": 8,
    "problem": 8,
    "problem_copy": 8,
    "problem_text": 8,
    "problem_sets": 9,
    "conventions": 9,
    "conformance": 10,
    "adapters": 10,
    "step": 11,
    "torch": 12,
    "derivation": 1,
    "pytest_plugin": 12,
    "console": 11,
    "cli": 12,
    "__main__": 13,
    "__init__": 13,
}
"""A module imports its own rank or lower ones."""

PLANTED = PACKAGE / "conformance" / "controls"
"""Planted subjects stand for users' code: some are written in torch, and loaded when asked for."""

OPTIONAL = ("torch", "jax", "gymnasium", "sb3_contrib", "stable_baselines3")
SECOND_ROUTES = {
    "oracles": {"mdp", "policy", "errors"},
    "strategies": {"mdp", "policy", "errors"},
}


@functools.cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Full names of the modules that a file imports, without those for type checking alone."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text("utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(n for part in node.body for n in ast.walk(part))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = ["npgcheck", *path.relative_to(PACKAGE).parts[:-1]]
                base = ".".join([*here[: len(here) + 1 - node.level], *filter(None, [base])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def unit_of(path: Path) -> str:
    """The module or package directly below ``npgcheck`` that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def internal(path: Path) -> set[str]:
    """The units that a file imports."""
    return {
        name.split(".")[1]
        for name in imports_of(path)
        if name.startswith("npgcheck.") and name.split(".")[1] in RANK
    } - {unit_of(path)}


FILES = sorted(PACKAGE.rglob("*.py"))


def wrong_imports(path: Path) -> set[str]:
    """The units that a file imports against the direction."""
    unit = unit_of(path)
    allowed = SECOND_ROUTES.get(unit)
    if allowed is not None:
        return internal(path) - allowed
    return {other for other in internal(path) if RANK[other] > RANK[unit]}


def test_every_module_has_a_rank():
    units = {unit_of(path) for path in FILES}
    assert units <= set(RANK), f"give a rank to {sorted(units - set(RANK))}"


def test_imports_run_downwards():
    wrong = {
        str(path.relative_to(PACKAGE)): found for path in FILES if (found := wrong_imports(path))
    }
    assert not wrong


def test_a_planted_import_is_seen(tmp_path, monkeypatch):
    import test_layers

    monkeypatch.setattr(test_layers, "PACKAGE", tmp_path)
    for unit, text in (
        ("mdp", "def f():\n    from npgcheck.exact import evaluate\n"),
        ("oracles", "import npgcheck.fisher\n"),
        ("exact", "from npgcheck import conformance\n"),
    ):
        path = tmp_path / f"{unit}.py"
        path.write_text(text)
        assert wrong_imports(path)
    (tmp_path / "fisher.py").write_text("from npgcheck.exact import evaluate\n")
    assert not wrong_imports(tmp_path / "fisher.py")


def test_only_adapters_and_extras_import_optional_libraries():
    found = {
        (str(path.relative_to(PACKAGE)), name)
        for path in FILES
        if unit_of(path) not in ("adapters", "torch") and PLANTED not in path.parents
        for name in imports_of(path)
        if name.split(".")[0] in OPTIONAL
    }
    assert not found


def test_nothing_imports_an_adapter():
    adapters = {f"npgcheck.adapters.{path.stem}" for path in (PACKAGE / "adapters").glob("*.py")}
    assert len(adapters) > 1
    for path in FILES:
        if unit_of(path) != "adapters":
            assert not adapters & set(imports_of(path)), path


def test_no_inverse_is_formed():
    for path in (path for path in FILES if PLANTED not in path.parents):
        tree = ast.parse(path.read_text("utf-8"))
        calls = [ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)]
        assert not [c for c in calls if c.endswith("linalg.inv")], path


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after a statement."""
    program = f"{statement}\nimport sys\nprint(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


HEAVY = {"scipy", "sympy", "hypothesis", "autograd", "flint", "rich", "click", "torch", "numpy"}


def test_importing_npgcheck_is_light():
    assert not loaded_by("import npgcheck") & HEAVY
    assert "scipy" in loaded_by("import npgcheck, scipy")  # the measurement can see it


def test_importing_the_pytest_plugin_loads_pytest_only():
    assert not loaded_by("import npgcheck.pytest_plugin") & HEAVY


def test_errors_and_conventions_are_light():
    assert not loaded_by("from npgcheck import Unsupported, UsageError, Conventions") & HEAVY


def test_every_name_on_the_front_page_exists():
    import npgcheck

    for name in npgcheck.__all__:
        assert getattr(npgcheck, name) is not None
    assert set(npgcheck.__all__) <= set(dir(npgcheck))
