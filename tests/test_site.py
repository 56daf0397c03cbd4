"""The hooks that build the site: formulas, generated pages, and the gates of a strict build."""

from __future__ import annotations

import logging
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
    for name in ("main", "mathml", "theory", "tables"):
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


def test_a_refuted_claim_stops_the_build_and_shows_as_refuted(hooks, tmp_path, monkeypatch, caplog):
    main, mathml, theory = hooks
    from npgcheck.derivation import prove
    from npgcheck.derivation.latex import latex

    (tmp_path / "wrong.py").write_text(WRONG, encoding="utf-8")
    report = prove.run(folder=tmp_path)
    monkeypatch.setattr(prove, "run", lambda: report)
    with caplog.at_level(logging.WARNING):
        main.on_config(None)
    assert "claim wrong: refuted" in caplog.text
    page = theory.pages(report)["theory/wrong.md"]
    assert "status-refuted" in page
    # the equation shown is the one judged
    (statement,) = report.results[0].statements
    assert mathml.render(latex(statement.statement.rhs), large=True) in page
