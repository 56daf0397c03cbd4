"""The reports that the pages on check_step show are the reports that their blocks give."""

from __future__ import annotations

import re

import pytest
from test_docs import NEED_TORCH, ROOT, blocks

from npgcheck.conformance.render_text import to_text

NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?(×10\S+)?")


def words(text):
    """A report's words: numbers differ in their last digits between machines."""
    lines = [line for line in text.splitlines() if line.strip()]
    return [NUMBER.sub("#", " ".join(line.split())) for line in lines]


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, marks=pytest.mark.torch) if p in NEED_TORCH else p
        for p in ("check-step.md", "check-advantages.md", "check-step-torch.md")
    ],
)
def test_the_report_on_the_page_is_the_one_that_its_block_gives(page):
    if page in NEED_TORCH:
        pytest.importorskip("torch", reason="needs the torch extra")
    path = ROOT / "site" / page
    found = blocks(path.read_text(encoding="utf-8"))
    block = next(b for b in found if b.language == "python")
    shown = next(b for b in found if b.language == "text")
    namespace: dict = {}
    exec(compile(block.source, str(path), "exec"), namespace)
    wanted = words(shown.source)
    assert words(to_text(namespace["report"], width=100))[: len(wanted)] == wanted


def test_another_word_would_be_seen():
    assert words("a   1.5e-3 b") == ["a # b"]
    assert words("pass 2×10⁷") != words("FAIL 2×10⁷")
