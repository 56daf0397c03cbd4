"""``npgcheck new``: starter files, each a working subject with one deliberate mistake."""

from __future__ import annotations

import os
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from npgcheck.errors import UsageError, nearest

STYLES = ("numpy", "torch", "batch")


def text(style: str) -> str:
    """The starter file of a style.

    Raises:
        UsageError: there is no such style.
    """
    if style not in STYLES:
        raise UsageError(
            f"there is no style {style!r}; the styles are {', '.join(STYLES)}."
            f"{nearest(style, STYLES)}"
        )
    return files(__name__).joinpath(f"{style}_style.txt").read_text("utf-8")


def _hides(path: Path) -> bool:
    """Whether a file of this name would be imported in place of an installed package."""
    if path.stem in sys.stdlib_module_names:
        return True
    try:
        found = find_spec(path.stem)
    except (ImportError, ValueError):
        return False
    here = path.resolve().parent
    return found is not None and (found.origin is None or here not in Path(found.origin).parents)


def write(file: str, style: str, force: bool = False) -> Path:
    """Writes a starter file; an existing one is left alone unless ``force``.

    Raises:
        UsageError: the file exists, or cannot be written.
    """
    content = text(style)
    path = Path(file)
    if path.suffix != ".py" or not path.stem:
        raise UsageError(f"{file}: a subject is a Python file; give a name that ends in .py.")
    if _hides(path):
        raise UsageError(
            f"{file} would hide the package {path.stem} from everything in its folder; "
            f"give another name, such as my_{path.stem}.py."
        )
    if path.is_dir():
        raise UsageError(f"{file} is a folder; give a file in it.")
    if not path.parent.is_dir():
        raise UsageError(f"{file}: the folder {path.parent} does not exist.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"{file} cannot be written: permission denied.")
    try:
        with path.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(content)
    except FileExistsError:
        raise UsageError(
            f"{file} exists and was left alone; give another name, or --force to replace it."
        ) from None
    return path
