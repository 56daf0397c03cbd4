"""Proof files are found, loaded and run, and what is wrong with one is said."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from claims import small_claim, small_setting

from npgcheck import derivation as dv
from npgcheck.derivation import prove, record
from npgcheck.derivation.claim import canonical
from npgcheck.errors import UsageError

FILE = """
from npgcheck import derivation as dv

S = dv.Setting.of("n", "a size")
y, k = S.family("y", "real"), dv.bound("k")
ones = S.sum(dv.delta(k, dv.free("b")) * y[k], k)
CLAIM = dv.Claim("{id}", "A claim", "here", (), {uses}, (dv.Statement.chain(
    "it", "It", S, (ones, {rhs}), [("because", {rhs})], (dv.free("b"),)),), "it", ())
"""


def write(folder: Path, name: str, rhs: str = 'y[dv.free("b")]', uses: tuple = ()) -> None:
    text = FILE.format(id=name, uses=repr(uses), rhs=rhs)
    (folder / f"{name}.py").write_text(text, encoding="utf-8")


def test_a_refuted_file_makes_the_run_fail(tmp_path):
    write(tmp_path, "good")
    assert prove.run(folder=tmp_path).exit_code == 0
    write(tmp_path, "wrong", rhs='2 * y[dv.free("b")]')
    write(tmp_path, "rests", uses=("wrong",))
    report = prove.run(folder=tmp_path)
    assert report.exit_code == 1
    assert [r.status.text for r in report.results] == ["proved", "refuted", "refuted"]
    assert "refuted: because: n = 1, b = 1" in prove.to_text(report)
    assert not record.to_json(report)["passed"]
    assert prove.run(["good"], folder=tmp_path).exit_code == 0
    assert [r.claim.id for r in prove.run(["rests"], folder=tmp_path).results] == ["wrong", "rests"]


def test_bad_proof_files_are_named(tmp_path):
    write(tmp_path, "a", uses=("b",))
    with pytest.raises(dv.DerivationError, match="which no proof file defines"):
        prove.load(tmp_path)
    write(tmp_path, "b", uses=("a",))
    with pytest.raises(dv.DerivationError, match="circle"):
        prove.load(tmp_path)
    (tmp_path / "b.py").write_text("", encoding="utf-8")
    with pytest.raises(dv.DerivationError, match="defines no CLAIM"):
        prove.load(tmp_path)
    (tmp_path / "b.py").write_text((tmp_path / "a.py").read_text(encoding="utf-8"))
    with pytest.raises(dv.DerivationError, match="taken by another"):
        prove.load(tmp_path)


def test_an_unknown_id_gets_the_nearest_one():
    with pytest.raises(UsageError, match="Did you mean 'softmax-fisher'"):
        prove.run(["softmax-fischer"])


def test_proof_files_are_found_in_a_wheel_and_in_a_checkout(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "npgcheck"
    package.mkdir(parents=True)
    monkeypatch.setattr(prove, "_PACKAGE", package)
    with pytest.raises(UsageError, match="no proof files"):
        prove.proofs_directory()
    (package.parent / "proofs").mkdir()
    assert prove.proofs_directory() == package.parent / "proofs"
    (package / "_proofs").mkdir()
    assert prove.proofs_directory() == package / "_proofs"


def test_the_report_is_json_with_everything_in_it(tmp_path):
    write(tmp_path, "good")
    data = json.loads(json.dumps(record.to_json(prove.run(folder=tmp_path))))
    (claim,) = data["claims"]
    assert (claim["id"], claim["status"]) == ("good", "proved")
    (step,) = claim["statements"][0]["steps"]
    assert step["controls"]["planted"] == step["controls"]["refuted"] > 0
    assert [e["method"] for e in step["evidence"]] == ["cutoff lemma", "exact points"]


def test_the_digest_is_the_same_in_every_process_and_sees_every_change():
    s = small_setting()
    code = "from npgcheck.derivation.prove import load; print(*(c.digest for c in load().values()))"
    other = subprocess.run(
        [sys.executable, "-c", "import sympy; sympy.Dummy(); " + code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.split() == [c.digest for c in prove.load().values()]
    b = dv.free("b")
    assert small_claim(s, s.y[b]).digest != small_claim(s, 2 * s.y[b]).digest
    assert canonical(s.y[b] + s.x[b]) == canonical(s.x[b] + s.y[b])
