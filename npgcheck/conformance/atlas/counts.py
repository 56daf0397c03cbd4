"""How many rows and episodes an average is over; NaN where there are none."""

from __future__ import annotations

from typing import Any

import numpy as np


def rows(v: Any) -> float:
    """N, of a batch or of all steps of the episodes."""
    seen = v.pipeline.rows
    return np.nan if seen is None else float(len(seen.rewards))


def episodes(v: Any) -> float:
    """Of recorded episodes, how many."""
    seen = v.pipeline.rows
    return np.nan if seen is None or v.base.sampled != "episodes" else float(seen.count)
