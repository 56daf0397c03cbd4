"""The hooks that build the site: formulas, generated pages, and the gates of a strict build."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("latex2mathml", reason="the docs dependency group is not installed")
pytest.importorskip("mkdocs", reason="the docs dependency group is not installed")
HOOKS = str(Path(__file__).resolve().parent.parent / "site" / "hooks")


@pytest.fixture
def hooks(monkeypatch):
    monkeypatch.syspath_prepend(HOOKS)
    import main
    import mathml
    import theory

    yield main, mathml, theory
    for name in ("main", "mathml", "theory", "tables", "graph"):
        sys.modules.pop(name, None)


def test_formulas_become_mathml(hooks):
    _, mathml, _ = hooks
    out = mathml.render(r"\pi_b := \log \theta_b", large=True)
    assert out.startswith("<math")
    assert 'displaystyle="true"' in out
    assert "≔" in out
    assert '<mi>log</mi><mspace width="0.17em"/>' in out
    assert "mspace" not in mathml.render(r"\log (x)")


@pytest.mark.parametrize("tex", [r"\nosuchcommand x", r"a &= b"])
def test_what_cannot_be_shown_is_an_error(hooks, tex):
    _, mathml, _ = hooks
    with pytest.raises(mathml.MathError):
        mathml.render(tex)


def test_a_formula_that_cannot_be_shown_is_a_warning_and_so_stops_a_strict_build(hooks, caplog):
    main, _, _ = hooks
    page = type("Page", (), {"file": type("File", (), {"src_uri": "page.md"})})
    content = '<p><span class="arithmatex">\\(\\nosuch\\)</span></p>'
    with caplog.at_level(logging.WARNING):
        main.on_page_content(content, page, None, None)
    assert "nosuch is not known" in caplog.text


def test_an_unknown_table_is_a_warning(hooks, caplog):
    main, _, _ = hooks
    page = type("Page", (), {"file": type("File", (), {"src_uri": "page.md"})})
    with caplog.at_level(logging.WARNING):
        main.on_page_markdown("<!-- table: nothing -->", page, None, None)
    assert "no table 'nothing'" in caplog.text
    assert "fisher_vector_product(problem, vector)" in main.on_page_markdown(
        "<!-- table: contract -->", page, None, None
    )


WRONG = """
from npgcheck import derivation as dv

S = dv.Setting.of("n", "a size")
y, b = S.family("y", "real"), dv.free("b")
CLAIM = dv.Claim("wrong", "Wrong", "here", (), (), (dv.Statement.chain(
    "it", "It", S, (y[b], 2 * y[b]), [("by mistake", 2 * y[b])], (b,)),), "it", ())
"""
RIGHT = WRONG.replace("2 * y", "y").replace("wrong", "right")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a mkdocs.yml and one proof file; returns its MkDocs configuration."""
    from npgcheck.derivation import prove

    (tmp_path / "proofs").mkdir()
    (tmp_path / "proofs" / "right.py").write_text(RIGHT, encoding="utf-8")
    monkeypatch.setattr(prove, "proofs_directory", lambda: tmp_path / "proofs")
    return type("Config", (), {"config_file_path": str(tmp_path / "mkdocs.yml")})


def test_a_refuted_claim_is_a_warning_and_shows_as_refuted(hooks, project, tmp_path, caplog):
    main, mathml, theory = hooks
    from npgcheck.derivation import prove
    from npgcheck.derivation.latex import latex

    (tmp_path / "proofs" / "wrong.py").write_text(WRONG, encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        main.on_config(project)
    assert "claim wrong: refuted" in caplog.text
    page = theory.pages(main.STATE["evidence"])["theory/wrong.md"]
    assert "status-refuted" in page
    # the equation shown is the one judged
    (statement,) = prove.load()["wrong"].statements
    assert mathml.render(latex(statement.rhs), large=True) in page


def test_evidence_is_found_once_and_taken_up_again(hooks, project, tmp_path, monkeypatch):
    main, _, _ = hooks
    from npgcheck.derivation import prove

    main.on_config(project)
    first = (tmp_path / "build" / "evidence.json").read_text(encoding="utf-8")
    monkeypatch.setattr(prove, "run", lambda: pytest.fail("judged twice"))
    main.on_config(project)
    assert (tmp_path / "build" / "evidence.json").read_text(encoding="utf-8") == first


CHANGES = {
    "an equation": ("y[b]", "3 * y[b]"),
    "a reason": ("by mistake", "by another reason"),
    "a title": ('"Wrong"', '"Right"'),
    "a family": ('"real"', '"positive"'),
    "a meaning": ('"a size"', '"another size"'),
    "what it covers": ('"it", ())', '"it and more", ())'),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_page_about_a_claim_that_has_changed_cannot_be_built(what, hooks, project, tmp_path):
    from mkdocs.exceptions import PluginError

    main, _, _ = hooks
    main.on_config(project)
    changed = RIGHT.replace(*CHANGES[what])
    assert changed != RIGHT
    (tmp_path / "proofs" / "right.py").write_text(changed, encoding="utf-8")
    with pytest.raises(PluginError, match="claim 'right' has changed since it was judged"):
        main.on_config(project)


def test_evidence_of_another_engine_or_about_other_claims_cannot_be_used(hooks, project, tmp_path):
    from mkdocs.exceptions import PluginError

    main, _, _ = hooks
    main.on_config(project)
    path = tmp_path / "build" / "evidence.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(record | {"engine": "another"}), encoding="utf-8")
    with pytest.raises(PluginError, match="another version of the engine"):
        main.on_config(project)
    path.write_text(json.dumps(record), encoding="utf-8")
    (tmp_path / "proofs" / "new.py").write_text(RIGHT.replace("right", "new"), encoding="utf-8")
    with pytest.raises(PluginError, match="no evidence about the claim 'new'"):
        main.on_config(project)
    (tmp_path / "proofs" / "new.py").unlink()
    (tmp_path / "proofs" / "right.py").write_text(RIGHT.replace('"right"', '"left"'))
    with pytest.raises(PluginError, match="no evidence about the claim 'left'"):
        main.on_config(project)


def test_the_graph_has_every_claim_and_every_use(hooks):
    import graph

    nodes = [{"id": name, "title": name, "status": "proved"} for name in "abcd"]
    edges = [["b", "a"], ["c", "a"], ["d", "b"], ["d", "a"]]
    drawn = graph.drawing({"nodes": nodes, "edges": edges})
    assert drawn.count('class="edge"') == len(edges)
    for name in "abcd":
        assert f'<a href="{name}.html">' in drawn
    corners = re.findall(r'<rect [^>]*x="(\d+)" y="(\d+)"', drawn)
    assert len(set(corners)) == 4  # no box covers another
    column = dict(zip("abcd", (int(x) for x, _ in corners), strict=True))
    assert column["a"] < column["b"] == column["c"] < column["d"]
