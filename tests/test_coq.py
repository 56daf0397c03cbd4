"""The Coq proofs: built, closed under the global context, and refused when a statement is false.

They need Debian's packages coq, libcoq-mathcomp-ssreflect and libcoq-mathcomp-algebra; `.ci/run`
installs them. Without the marker nothing here runs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.coq
FOLDER = Path(__file__).resolve().parent.parent / "proofs" / "coq"
FILES = ("softmax_fisher", "performance_difference", "policy_gradient")  # in the order of imports
CLOSED = "Closed under the global context"


def compiled(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    command = ["coqc", "-w", "none", "-Q", ".", "NpgCheck", f"{name}.v"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with every file compiled, and what Coq printed for each."""
    assert shutil.which("coqc"), (
        "coqc is not installed: apt-get install coq libcoq-mathcomp-algebra"
    )
    folder = tmp_path_factory.mktemp("coq")
    printed = {}
    for name in FILES:
        shutil.copy(FOLDER / f"{name}.v", folder)
        done = compiled(folder, name)
        assert done.returncode == 0, done.stderr
        printed[name] = done.stdout.splitlines()
    return folder, printed


def test_the_files_are_those_of_the_folder():
    assert sorted(path.stem for path in FOLDER.glob("*.v")) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_every_theorem_rests_on_nothing_unproved(built, name):
    text = (FOLDER / f"{name}.v").read_text(encoding="utf-8")
    theorems = re.findall(r"^Theorem (\w+)", text, re.M)
    shown = re.findall(r"^Print Assumptions (\w+)\.", text, re.M)
    # a section's own lemmas are shown through the theorems that use them
    assert theorems
    assert set(theorems) - set(shown) <= {"probabilities_sum_to_one"}
    assert built[1][name] == [CLOSED] * len(shown)
    assert not re.search(r"\b(Admitted|admit|Axiom|Parameter)\b", text)


PLANTED = [
    ("softmax_fisher", "= p b * delta b c - p b * p c.", "= p b * delta b c."),
    ("softmax_fisher", "= p b * delta b c - p b * p c.", "= p b * delta b c + p b * p c."),
    ("softmax_fisher", "Hypothesis sum_p : \\sum_a p a = 1.", "Hypothesis sum_p : True."),
    ("performance_difference", "= visits P' *m (r'", "= visits P *m (r'"),
    ("performance_difference", "visits P = rho + g *:", "visits P = rho +"),
    ("policy_gradient", "(map_mx D r + g *:", "(map_mx D r +"),
    ("policy_gradient", "Hypothesis start_fixed : map_mx D rho = 0.", ""),
    ("policy_gradient", "((a == b)%:R - probability b).", "(a == b)%:R."),
]


@pytest.mark.parametrize(("name", "true", "false"), PLANTED)
def test_false_statements_are_refused(built, tmp_path, name, true, false):
    text = (FOLDER / f"{name}.v").read_text(encoding="utf-8")
    assert text.count(true) == 1
    shutil.copytree(built[0], tmp_path / "coq")
    (tmp_path / "coq" / f"{name}.v").write_text(text.replace(true, false), encoding="utf-8")
    done = compiled(tmp_path / "coq", name)
    assert done.returncode != 0
    assert "Error" in done.stderr


def test_an_unfinished_proof_does_not_count_as_closed(built, tmp_path):
    text = (FOLDER / "softmax_fisher.v").read_text(encoding="utf-8")
    start = text.index("Proof.", text.index("Theorem mean_score"))
    end = text.index("Qed.", start) + len("Qed.")
    (tmp_path / "softmax_fisher.v").write_text(text[:start] + "Admitted." + text[end:])
    done = compiled(tmp_path, "softmax_fisher")
    assert done.returncode == 0
    assert done.stdout.splitlines() != [CLOSED] * 4
    assert "Axioms:" in done.stdout
