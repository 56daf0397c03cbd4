"""Finding the object that a target names: a file, a module, ``module:object`` or an adapter."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import linecache
import os
import pkgutil
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from npgcheck.errors import UsageError, nearest

EXTRA_OF = {
    "torch": "torch",
    "sb3_contrib": "sb3",
    "stable_baselines3": "sb3",
    "gymnasium": "gymnasium",
}
"""The extra of this package that installs a module."""

_folder_modules: dict[str, str] = {}
"""Modules that earlier file subjects imported from their own folder: name → file."""


@dataclass(frozen=True)
class Found:
    """What a target names.

    Attributes:
        obj: the module or object.
        name: how a report calls it.
        folders: folders to keep importable while it is called.
        target: text that names the same thing from another process.
    """

    obj: Any
    name: str
    folders: tuple[str, ...]
    target: str


def adapters() -> tuple[str, ...]:
    """The adapters' names, read off the folder without importing any of them."""
    import npgcheck.adapters

    return tuple(
        sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(npgcheck.adapters.__path__))
    )


def find(target: str) -> Found:
    """Finds what a target names: a file that exists, else a module, else an adapter.

    Raises:
        UsageError: nothing has that name, or it does not import.
    """
    if not target.strip():
        raise UsageError("the target is empty; give a Python file, a module or an adapter's name.")
    path_text, _, attribute = target.rpartition(":")
    for path, inner in ((Path(target), ""), (Path(path_text or target), attribute)):
        if path.is_file():
            return _from_file(path.resolve(), inner, target)
    if _looks_like_a_path(target):
        raise UsageError(_no_such_file(Path(target)))
    module_name, _, inner = target.partition(":")
    with importable((os.getcwd(),)):
        if _is_module(module_name):
            module = _import(module_name, target)
            return Found(_attribute(module, inner, module_name), target, (os.getcwd(),), target)
    adapter = module_name.replace("-", "_")
    if adapter.replace("_", "-") in adapters():
        module = _import(f"npgcheck.adapters.{adapter}", target)
        obj = _attribute(module, inner or ("subject" if hasattr(module, "subject") else ""), target)
        return Found(obj, target, (), target)
    raise UsageError(_unknown(target, module_name))


@contextmanager
def importable(folders: tuple[str, ...]) -> Iterator[None]:
    """Puts the folders first on ``sys.path`` for the length of the block."""
    added = [f for f in folders if f not in sys.path]
    sys.path[:0] = added
    try:
        yield
    finally:
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)


@contextmanager
def _settings_kept() -> Iterator[None]:
    """Undoes what a subject does, when it is imported, to settings that we share with it."""
    with warnings.catch_warnings(), np.errstate():
        warnings.simplefilter("ignore")
        yield


def _looks_like_a_path(target: str) -> bool:
    return target.split(":")[0].endswith(".py") or "/" in target or os.sep in target


def _no_such_file(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder; give the Python file in it that defines the functions."
    folder = path.parent
    if not folder.is_dir():
        return f"there is no file {path}: the folder {folder} does not exist."
    names = [p.name for p in folder.glob("*.py")]
    return f"there is no file {path}.{nearest(path.name, names)}"


def _unknown(target: str, module_name: str) -> str:
    if Path(target).is_dir():
        return f"{target} is a folder; give the Python file in it that defines the functions."
    files = [p.name for p in Path.cwd().glob("*.py")]
    hint = nearest(target, [*adapters(), *files]) or nearest(f"{target}.py", files)
    return (
        f"there is no file, module or adapter {module_name!r}.{hint} "
        f"The adapters are: {', '.join(adapters()) or 'none'}."
    )


def _is_module(name: str) -> bool:
    if not all(part.isidentifier() for part in name.split(".")):
        return False
    parent = name.split(".")[0]
    try:
        spec = importlib.util.find_spec(parent)
    except (ImportError, ValueError):
        return False
    # A folder without __init__.py would pass as a namespace package; it is no subject by itself.
    return spec is not None and (spec.origin is not None or "." in name)


def _import(name: str, target: str) -> Any:
    try:
        with _settings_kept():
            return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and error.name and name.startswith(error.name):
            parent = error.name.rpartition(".")[0]
            found = f": {parent!r} has no {error.name.rpartition('.')[2]!r}" if parent else ""
            raise UsageError(f"there is no module {name!r}{found}.") from None
        raise UsageError(_does_not_import(target, error)) from error


def _from_file(path: Path, attribute: str, target: str) -> Found:
    if path.suffix != ".py":
        raise UsageError(f"{target} is not a Python file; a subject's name ends in .py.")
    folder = str(path.parent)
    _forget_other_folders()
    before = set(sys.modules)
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"npgcheck_subject_{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{target} cannot be imported as a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    linecache.checkcache(str(path))
    with importable((folder,)), _settings_kept():
        try:
            spec.loader.exec_module(module)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            del sys.modules[name]
            raise UsageError(_does_not_import(target, error)) from error
        finally:
            _remember(set(sys.modules) - before - {name}, folder)
    full = f"{path}:{attribute}" if attribute else str(path)
    shown = f"{path.name}:{attribute}" if attribute else path.name
    return Found(_attribute(module, attribute, path.name), shown, (folder,), full)


def _remember(names: set[str], folder: str) -> None:
    for name in names:
        file = getattr(sys.modules[name], "__file__", None)
        if file and str(Path(file)).startswith(folder + os.sep):
            _folder_modules[name] = file


def _forget_other_folders() -> None:
    """Drops helper modules of earlier file subjects, which may share a name with ours."""
    for name, file in list(_folder_modules.items()):
        module = sys.modules.get(name)
        if module is not None and getattr(module, "__file__", None) == file:
            del sys.modules[name]
        del _folder_modules[name]


def _attribute(module: Any, attribute: str, where: str) -> Any:
    obj = module
    for part in attribute.split(".") if attribute else ():
        if not hasattr(obj, part):
            names = [n for n in dir(obj) if not n.startswith("_")]
            raise UsageError(f"{where} has no {attribute!r}.{nearest(part, names)}")
        obj = getattr(obj, part)
    return obj


def _does_not_import(target: str, error: BaseException) -> str:
    """One sentence: what went wrong, and on which line of the user's own file."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in EXTRA_OF:
        missing = str(error.name).split(".")[0]
        return (
            f"{target} needs {missing}, which is not installed: "
            f'pip install "npgcheck[{EXTRA_OF[missing]}]"'
        )
    if isinstance(error, SyntaxError):
        place = f" ({Path(error.filename).name}, line {error.lineno})" if error.filename else ""
        return f"{target} cannot be imported: {error.msg}{place}."
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if not f.filename.startswith("<frozen") and f.filename != __file__
    ]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    said = f": {error}" if str(error) else ""
    return f"{target} cannot be imported: {type(error).__name__}{said}{place}."
