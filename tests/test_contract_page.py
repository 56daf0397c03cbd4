"""The contract page states every function as the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from npgcheck.conformance.contract import QUANTITIES

PAGE = (Path(__file__).resolve().parent.parent / "site" / "contract.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", QUANTITIES)
def test_signature_and_meaning_stand_in_the_page(name: str) -> None:
    quantity = QUANTITIES[name]
    assert f"{quantity.signature}\n    # {quantity.meaning}\n" in PAGE


def test_the_page_states_no_other_function() -> None:
    block = PAGE.split("```text\n")[1].split("```")[0]
    assert len(block.strip().splitlines()) == 2 * len(QUANTITIES)
