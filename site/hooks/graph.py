"""The graph of claims as a drawing: an arrow leads from a claim to what uses it."""

from __future__ import annotations

import html
from typing import Any

WIDTH, HEIGHT, GAP_X, GAP_Y = 212, 34, 46, 16  # of a box, and between boxes, in pixels


def drawing(graph: dict[str, Any]) -> str:
    """The graph as SVG, every box a link to its page; claims that use nothing stand left."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    uses = {name: [b for a, b in graph["edges"] if a == name] for name in nodes}
    column: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in column:
            column[name] = 1 + max((depth(used) for used in uses[name]), default=-1)
        return column[name]

    for name in nodes:
        depth(name)
    place = _rows(column, uses)
    widest = max(row for _, row in place.values()) + 1
    width = (max(column.values()) + 1) * (WIDTH + GAP_X) - GAP_X
    height = widest * (HEIGHT + GAP_Y) - GAP_Y
    parts = [
        f'<svg class="graph" viewBox="-2 -2 {width + 4} {height + 4}" role="img" '
        'aria-label="Which claim uses which">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>',
    ]
    for name in nodes:
        for used in uses[name]:
            parts.append(_arrow(place[used], place[name]))
    for name, node in nodes.items():
        parts.append(_box(node, *_corner(place[name])))
    return "".join([*parts, "</svg>"])


def _rows(column: dict[str, int], uses: dict[str, list[str]]) -> dict[str, tuple[int, int]]:
    """Column and row of each claim: near the mean row of what it uses, where that is free."""
    place: dict[str, tuple[int, int]] = {}
    for c in range(max(column.values()) + 1):
        wanted = {}
        for name in [name for name, at in column.items() if at == c]:
            rows = [place[used][1] for used in uses[name]]
            wanted[name] = sum(rows) / len(rows) if rows else float(len(wanted))
        taken: set[int] = set()
        for name in sorted(wanted, key=lambda n: (wanted[n], n)):
            row = round(wanted[name])
            while row in taken:
                row += 1
            taken.add(row)
            place[name] = (c, row)
    return place


def _corner(at: tuple[int, int]) -> tuple[int, int]:
    return at[0] * (WIDTH + GAP_X), at[1] * (HEIGHT + GAP_Y)


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    (x, y), (u, v) = _corner(start), _corner(end)
    x, y, v = x + WIDTH, y + HEIGHT // 2, v + HEIGHT // 2
    bend = (u - x) // 2 if u - x <= GAP_X else GAP_X
    return f'<path class="edge" d="M{x} {y}C{x + bend} {y} {u - bend} {v} {u} {v}"/>'


def _box(node: dict[str, Any], x: int, y: int) -> str:
    status = node["status"].replace(" ", "-")
    title = html.escape(f"{node['title']}: {node['status']}")
    return (
        f'<a href="{node["id"]}.html"><title>{title}</title>'
        f'<rect class="node node-{status}" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" '
        f'rx="6"/><text x="{x + WIDTH // 2}" y="{y + HEIGHT // 2 + 5}">{node["id"]}</text></a>'
    )
