"""The report as JSON; ``report.schema.json``, beside this file, says what each field means.

JSON has no infinity and no NaN: they are written as the strings ``"inf"``, ``"-inf"``, ``"nan"``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.resources import files
from typing import Any

from npgcheck.conformance.report import SCHEMA_VERSION, Report


def to_json(report: Report) -> dict[str, Any]:
    """The report as plain data."""
    plain = {item.name: getattr(report, item.name) for item in fields(report)}
    plain["results"] = [asdict(result) for result in report.results]
    plain["controls"] = [asdict(control) for control in report.controls]
    return {"schema_version": SCHEMA_VERSION, **_plain(plain)}


def dumps(report: Report) -> str:
    """The report as text, two spaces deep, Greek letters kept."""
    return json.dumps(to_json(report), indent=2, ensure_ascii=False, allow_nan=False)


def schema() -> dict[str, Any]:
    """The JSON Schema of a report, as shipped."""
    text = files("npgcheck.conformance").joinpath("report.schema.json").read_text("utf-8")
    return dict(json.loads(text))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(item) for item in value)
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if hasattr(value, "tolist"):  # a numpy number or array
        return _plain(value.tolist())
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    raise TypeError(f"a report holds {type(value).__name__}, which JSON cannot: {value!r}")
