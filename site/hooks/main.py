"""MkDocs hooks: judged theory pages, the atlas, tables from the code, formulas without scripts.

Evidence about a claim that has changed since stops every build; a refuted claim, a surviving
planted fault, an unknown TeX command or an unknown table name stops a strict one.
"""

from __future__ import annotations

import html
import importlib.util
import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

log = logging.getLogger("mkdocs.hooks.npgcheck")
HERE = Path(__file__).resolve().parent
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)
TABLE = re.compile(r"<!-- table: ([\w-]+) -->")
EVIDENCE = "build/evidence.json"  # beside mkdocs.yml; written by npgcheck prove --evidence
STATE: dict[str, Any] = {}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Makes the neighbouring modules importable and takes up the evidence about every claim."""
    sys.path.insert(0, str(HERE))
    import theory

    from npgcheck.errors import UsageError

    path = Path(config.config_file_path).parent / EVIDENCE
    try:
        STATE["evidence"] = theory.evidence(path)
    except UsageError as error:
        raise PluginError(f"{path}: {error}") from error
    for problem in theory.problems(STATE["evidence"]):
        log.warning(problem)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the theory and atlas pages, the evidence as JSON, and the font for mathematics."""
    import atlas
    import theory

    pages = {**theory.pages(STATE["evidence"]), **atlas.pages()}
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    evidence = json.dumps(STATE["evidence"], indent=1, ensure_ascii=False)
    files.append(File.generated(config, "evidence.json", content=evidence))
    spec = importlib.util.find_spec("ziamath")
    if spec is None or spec.origin is None:
        log.warning("the package ziamath, which carries the font STIX Two Math, is not installed")
        return files
    font = Path(spec.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
    target = "assets/STIXTwoMath-Regular.ttf"
    files.append(File.generated(config, target, abs_src_path=str(font)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fills in the tables that are generated from the code."""
    import graph
    import tables
    import theory

    folder = "" if page.file.src_uri.startswith("theory/") else "theory/"
    judged = {"functions": theory.functions}
    judged["claims"] = lambda found: theory.overview(found, folder)
    judged["graph"] = lambda found: graph.drawing(found["graph"])

    def fill(match: re.Match[str]) -> str:
        if match[1] in judged:
            return judged[match[1]](STATE["evidence"])
        try:
            return tables.TABLES[match[1]]()
        except KeyError:
            log.warning("%s: there is no table %r", page.file.src_uri, match[1])
            return ""

    return TABLE.sub(fill, markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns every formula into MathML."""
    from mathml import MathError, render

    def formula(match: re.Match[str]) -> str:
        tex = html.unescape(match[2])
        try:
            return render(tex, display=match[1] == "div")
        except MathError as error:
            log.warning("%s: %s", page.file.src_uri, error)
            return f"<code>{html.escape(tex)}</code>"

    return FORMULA.sub(formula, content)
