"""Where in a gradient a mistake sits: which coordinates are wrong, or in another order.

Asked only once something is refuted: it costs a few evaluations of the policy per coordinate, or
per block of coordinates where there are many.
"""

from __future__ import annotations

import itertools

import numpy as np

from npgcheck.step.probes import TRUST, Probes

Array = np.ndarray

ANOTHER_ORDER = "its numbers are right but in another order"
#: What is said of a rotation.
FIRST = "the last {} come first"

#: Coordinates are looked at one by one while D · N is below this, else in so many blocks.
SINGLY, BLOCKS = 300_000, 24
#: A coordinate counts as right within this of the largest, far above rounding and far below any
#: mistake.
CLOSE = 1e-5


def describe(probes: Probes, answer: Array, cotangent: Array, size: Array, factor: float) -> str:
    """What is true of the coordinates of a gradient that is wrong, or "".

    Args:
        probes: the batch.
        answer: (D,), the user's gradient.
        cotangent, size: (N, K), of the exact gradient; see ``Rows.slope``.
        factor: what the user's is a multiple of, otherwise.
    """
    count = len(answer)
    if count * len(probes.rows.weights) <= SINGLY:
        exact = np.array([_slope(probes, e, cotangent, size)[0] for e in np.eye(count)])
        return _coordinates(answer, factor * exact)
    return _blocks(probes, answer, cotangent, size, factor)


def _slope(probes: Probes, v: Array, cotangent: Array, size: Array) -> tuple[float, float]:
    found = probes.rows.slope(cotangent, size, v)
    return found.value, TRUST * found.error


def _coordinates(answer: Array, exact: Array) -> str:
    largest = float(np.abs(exact).max())
    if not largest:
        return ""
    wrong = np.abs(answer - exact) > CLOSE * largest
    if not wrong.any():
        return ""
    if np.abs(np.sort(answer) - np.sort(exact)).max() <= CLOSE * largest:
        order = order_of(answer, exact, CLOSE * largest)
        return ANOTHER_ORDER + (f": {order}" if order else "")
    where = _ranges(np.flatnonzero(wrong))
    right = ~wrong & (np.abs(exact) > CLOSE * largest)
    if not answer[wrong].any() and right.any():
        return _zero_at(where, len(exact))
    if wrong.sum() > len(exact) / 2:
        return ""
    return f"it is wrong only at {where}, counting its {len(exact)} coordinates from 0"


def _zero_at(where: str, count: int) -> str:
    return (
        f"it is zero at {where} of its {count} coordinates, counting from 0, and right elsewhere: "
        "is that part detached, or left out?"
    )


def order_of(answer: Array, exact: Array, close: float) -> str:
    """How the coordinates were exchanged: blocks that are transposed, or a rotation, or ""."""
    size = len(exact)
    for shift in range(1, size):
        if np.abs(np.roll(exact, shift) - answer).max() <= close:
            return FIRST.format(shift)
    if np.abs(exact[::-1] - answer).max() <= close:
        return "from last to first"
    found, place = [], 0
    while place < size:
        if abs(answer[place] - exact[place]) <= close:
            place += 1
            continue
        block = _transposed(answer, exact, place - 1, close) if place else None
        if block is None:
            return ""
        found.append(block)
        place = block[0] + block[1] * block[2]
    return " and ".join(
        f"the {rows} × {columns} block from {start} on is transposed"
        for start, rows, columns in found
    )


def _transposed(
    answer: Array, exact: Array, start: int, close: float
) -> tuple[int, int, int] | None:
    """The smallest block from this coordinate on that is transposed in the answer."""
    for length in range(4, len(exact) - start + 1):
        part, other = exact[start : start + length], answer[start : start + length]
        if abs(part[-1] - other[-1]) > close:
            continue
        for rows in range(2, length // 2 + 1):
            if length % rows == 0:
                turned = part.reshape(rows, -1).T.ravel()
                if np.abs(turned - other).max() <= close:
                    return start, rows, length // rows
    return None


def _blocks(probes: Probes, answer: Array, cotangent: Array, size: Array, factor: float) -> str:
    rng = np.random.default_rng(0)

    def is_wrong(kept: Array) -> bool:
        """Whether the answer is wrong on these coordinates (D,), bool."""
        v = np.where(kept, rng.standard_normal(len(answer)), 0.0)
        exact, error = _slope(probes, v, cotangent, size)
        scale = float(np.linalg.norm(answer[kept])) + abs(exact)
        return abs(float(v @ answer) - factor * exact) > error + CLOSE * scale

    ends = np.linspace(0, len(answer), BLOCKS + 1).astype(int)
    place = np.arange(len(answer))
    blocks = [(place >= start) & (place < end) for start, end in itertools.pairwise(ends)]
    wrong = [is_wrong(block) for block in blocks]
    if not any(wrong) or all(wrong):
        return ""
    zero = (answer == 0.0) & np.any([b for b, w in zip(blocks, wrong, strict=True) if w], axis=0)
    if zero.any() and not is_wrong(~zero):
        return _zero_at(_ranges(np.flatnonzero(zero)), len(answer))
    if sum(wrong) > BLOCKS / 2:
        return ""
    parts = [f"{ends[i]}–{ends[i + 1] - 1}" for i in np.flatnonzero(wrong)]
    return f"it is wrong only within {', '.join(parts)}, counting its coordinates from 0"


def _ranges(indices: Array) -> str:
    """``3, 7–9``: runs of consecutive numbers."""
    runs: list[list[int]] = []
    for i in map(int, indices):
        if runs and i == runs[-1][1] + 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    shown = [f"{a}" if a == b else f"{a}–{b}" for a, b in runs[:6]]
    return ", ".join(shown) + (" …" if len(runs) > 6 else "")
