"""Curves over time as a plain SVG: a few panels need no plotting library."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, LEFT, GAP = 720, 200, 70, 60
FEW = 8
"""So many points are told one by one."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A name and its points, (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


def svg(curves: Sequence[Curve], *, across: str) -> str:
    """Return one panel a curve, all from zero, so that what is flat looks flat."""
    longest = max(x for curve in curves for x, _ in curve.points)
    panels = [_panel(curve, longest, top=GAP / 2 + number * (HEIGHT + GAP)) for number, curve in enumerate(curves)]
    height = len(curves) * (HEIGHT + GAP) + GAP / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + LEFT + 20}" height="{height:.0f}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        + "".join(panels)
        + f'<text x="{LEFT}" y="{height - 8:.0f}">{across}: 0 to {longest:.0f}</text></svg>\n'
    )


def _panel(curve: Curve, longest: float, *, top: float) -> str:
    most = max(y for _, y in curve.points) * 1.1
    places = [(LEFT + x / longest * WIDTH, top + HEIGHT - y / most * HEIGHT) for x, y in curve.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    lines = "".join(
        f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{top + HEIGHT * (1 - part):.1f}" '
        f'y2="{top + HEIGHT * (1 - part):.1f}" stroke="#ddd"/>'
        f'<text x="{LEFT - 6}" y="{top + HEIGHT * (1 - part) + 4:.1f}" text-anchor="end">{most * part:,.0f}</text>'
        for part in (0.0, 0.5, 1.0)
    )
    few = zip(places, curve.points, strict=True) if len(places) <= FEW else ()
    marks = "".join(
        f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3" fill="#1f6feb"/>'
        f'<text x="{across - 6:.1f}" y="{down - 8:.1f}" text-anchor="end">{x:g}: {y:,.0f}</text>'
        for (across, down), (x, y) in few
    )
    return (
        f'<text x="{LEFT}" y="{top - 8:.1f}" font-weight="bold">{curve.name}</text>{lines}'
        f'<polyline points="{path}" fill="none" stroke="#1f6feb" stroke-width="1.5"/>{marks}'
    )
