"""Draws how transfers fare when many callers contend for the same two accounts.

    make bench plot

Reads target/bench/together.json, which the bench `together` writes, and makes an SVG of its
`contention`: benches/contention.svg, or OUTPUT. Needs nothing beyond Python 3.
"""

import json
import math
import sys
from html import escape
from itertools import cycle
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "target/bench/together.json"

WIDTH, HEIGHT = 900, 380
TOP, BOTTOM = 112, 308  # of both panels
PANELS = [(60, 430), (520, 880)]  # left and right edge of each
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"]  # Okabe and Ito's
NOTE = "Medians of the rounds; whiskers: slowest to fastest round. Latency: calls that succeeded."
STYLE = (
    "text{font:12px system-ui,'Segoe UI',Helvetica,Arial,sans-serif;fill:#333}"
    ".title{font-size:17px;font-weight:600}.panel{font-size:13px;font-weight:600}"
    ".note{font-size:11px;fill:#666}.middle{text-anchor:middle}.end{text-anchor:end}"
)


def text(x, y, words, kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(words)}</text>'


def line(x1, y1, x2, y2, colour, width=1.0):
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"/>'


def dot(x, y, colour):
    # The white rim keeps points apart that lie on one another.
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}" stroke="#fff"/>'


def for_people(number):
    return f"{number / 1000:g}k" if number >= 1000 else f"{number:g}"


def even_ticks(_least, most):
    """Zero and up to seven round steps, the last at or above `most`."""
    power = 10 ** math.floor(math.log10(most))
    step = next(s for s in (power / 5, power / 2, power, power * 2) if most / s <= 7)
    return [step * i for i in range(math.ceil(most / step) + 1)]


def decade_ticks(least, most):
    """The powers of ten from below `least` to above `most`."""
    first, last = math.floor(math.log10(least)), math.floor(math.log10(most)) + 1
    return [10.0**power for power in range(first, last + 1)]


def draw_panel(edges, title, ticks_around, scale, lines):
    """One panel; `lines` has a list of (callers, least, middle, most) for each way."""
    left, right = edges
    callers, least, _, most = zip(*(point for points in lines for point in points))
    slot = (right - left) / len(set(callers))
    across = {count: left + slot * (i + 0.5) for i, count in enumerate(sorted(set(callers)))}
    ticks = ticks_around(min(least), max(most))
    low, high = scale(ticks[0]), scale(ticks[-1])

    def up(value):
        return BOTTOM - (scale(value) - low) / (high - low) * (BOTTOM - TOP)

    drawn = [text(left, TOP - 16, title, "panel")]
    for tick in ticks:
        drawn.append(line(left, up(tick), right, up(tick), "#e2e2e2"))
        drawn.append(text(left - 8, up(tick) + 4, for_people(tick), "end"))
    for count, x in across.items():
        drawn.append(line(x, TOP, x, BOTTOM, "#f0f0f0"))
        drawn.append(text(x, BOTTOM + 18, for_people(count), "middle"))
    drawn.append(text((left + right) / 2, BOTTOM + 36, "callers", "middle"))
    for index, (points, colour) in enumerate(zip(lines, cycle(COLOURS))):
        # A little aside, or the whiskers of one category would hide one another.
        aside = (index - (len(lines) - 1) / 2) * 9
        places = [(across[count] + aside, up(middle)) for count, _, middle, _ in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), (_, least, _, most) in zip(places, points):
            drawn.append(line(x, up(least), x, up(most), colour, 1.5))
            drawn += [line(x - 3, up(it), x + 3, up(it), colour, 1.5) for it in (least, most)]
            drawn.append(dot(x, y, colour))
    return drawn


def draw_legend(ways):
    drawn, x = [], PANELS[0][0]
    for way, colour in zip(ways, cycle(COLOURS)):
        drawn += [line(x, 60, x + 24, 60, colour, 2), dot(x + 12, 60, colour)]
        drawn.append(text(x + 31, 64, way))
        x += 62 + 6.6 * len(way)  # about what the words take; an SVG cannot ask
    return drawn


def draw(rows):
    rates, waits = {}, {}
    for row in sorted(rows, key=lambda row: row["callers"]):
        rates.setdefault(row["way"], []).append((row["callers"], *row["per_second"]))
        wait = row["p99_us"] / 1000  # has no spread, so its whisker hides under the dot
        waits.setdefault(row["way"], []).append((row["callers"], wait, wait, wait))
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    drawn = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {WIDTH} {HEIGHT}">']
    # The white ground keeps the dark words readable where the page is dark.
    drawn += [f"<style>{STYLE}</style>", f'<rect {size} fill="#fff"/>']
    drawn.append(text(PANELS[0][0], 34, "Many contend for the same two accounts", "title"))
    drawn += draw_legend(rates)
    drawn += draw_panel(PANELS[0], "transfers a second", even_ticks, float, rates.values())
    drawn += draw_panel(PANELS[1], "p99 latency, ms", decade_ticks, math.log10, waits.values())
    return "\n".join([*drawn, text(PANELS[0][0], HEIGHT - 12, NOTE, "note"), "</svg>", ""])


def main():
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "benches/contention.svg"
    try:
        rows = json.loads(FIGURES.read_text(encoding="utf-8"))["contention"]
    except FileNotFoundError:
        sys.exit(f"{FIGURES} is not there yet: run `make bench` first.")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(draw(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
