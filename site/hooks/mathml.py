"""TeX to MathML at build time: no script, no network, and text that can be searched and read aloud.

`latex2mathml` does the translation; what it spaces or names badly is mended here, and what it does
not know is an error instead of a formula with a backslash in it.
"""

from __future__ import annotations

import re
from functools import cache

from latex2mathml.converter import convert

_ASSIGN = '<mo lspace="0.28em" rspace="0.28em">≔</mo>'
_THIN = '<mspace width="0.17em"/>'


class MathError(ValueError):
    """TeX that cannot be shown."""


@cache
def render(tex: str, display: bool = False, large: bool = False) -> str:
    """Returns a ``<math>`` element for a TeX formula.

    Args:
        tex: the formula.
        display: on a line of its own.
        large: inline, but with the limits and fractions of display style.

    Raises:
        MathError: a command that is not known.
    """
    source = tex.strip().replace(":=", r"\coloneq ")
    out = convert(source, display="block" if display or large else "inline")
    if large:
        out = out.replace('display="block"', 'display="inline" displaystyle="true"', 1)
    unknown = re.search(r"\\[A-Za-z]+", out)
    if unknown:
        raise MathError(f"{unknown.group()} is not known, in {tex!r}")
    if "&" in tex.replace(r"\&", "") and "mtable" not in out:
        raise MathError(f"an alignment that would be shown as a plain '&', in {tex!r}")
    out = out.replace("<mo>&#x02254;</mo>", _ASSIGN)
    out = out.replace("<mi>&#x0007E;</mi>", '<mo lspace="0.15em" rspace="0.15em">∼</mo>')
    # names of functions: upright, and with a thin space before a letter but not before a bracket
    out = re.sub(r"<mo>([A-Za-z]{2,})</mo>", r"<mi>\1</mi>", out)
    name = r"<mi>([A-Za-z]{2,})</mi>(?!</m|<mo[^>]*>&#x00028;|<mrow><mo[^>]*>&#x00028;)"
    out = re.sub(name, rf"<mi>\1</mi>{_THIN}", out)
    # a name after a letter or a closing bracket wants that space on its left as well
    return re.sub(
        r"(</mi>|</msub>|</msup>|</mn>|</mfrac>)(<mi>[A-Za-z]{2,}</mi>)", rf"\1{_THIN}\2", out
    )
