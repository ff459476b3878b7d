"""Draws a chart of transfers between the same two accounts by many callers.

    make bench plot

Reads the rows `contention` of target/bench/together.json, which the benchmark `together` writes, and
writes an SVG to benches/contention.svg, or to the file given as argument. It needs only Python 3.
"""

import json
import math
import sys
from html import escape
from itertools import cycle
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "target/bench/together.json"

WIDTH, HEIGHT = 900, 380
TOP, BOTTOM = 112, 308  # top and bottom of both panels
PANELS = [(60, 430), (520, 880)]  # left and right edge of each panel
# The palette of Okabe and Ito, which colour-blind readers can tell apart.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"]
NOTE = "Medians of the rounds; whiskers: slowest to fastest round. Latency: calls that succeeded."
STYLE = (
    "text{font:12px system-ui,'Segoe UI',Helvetica,Arial,sans-serif;fill:#333}"
    ".title{font-size:17px;font-weight:600}.panel{font-size:13px;font-weight:600}"
    ".note{font-size:11px;fill:#666}.middle{text-anchor:middle}.end{text-anchor:end}"
)


def text(x, y, content, kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(content)}</text>'


def line(x1, y1, x2, y2, colour, width=1.0):
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"/>'


def dot(x, y, colour):
    # The white rim separates points that overlap.
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}" stroke="#fff"/>'


def format_number(number):
    return f"{number / 1000:g}k" if number >= 1000 else f"{number:g}"


def even_ticks(_least, most):
    """Returns zero and up to seven round steps, the last of them at or above `most`."""
    power = 10 ** math.floor(math.log10(most))
    step = next(s for s in (power / 5, power / 2, power, power * 2) if most / s <= 7)
    return [step * i for i in range(math.ceil(most / step) + 1)]


def decade_ticks(least, most):
    """Returns the powers of ten from below `least` to above `most`."""
    first, last = math.floor(math.log10(least)), math.floor(math.log10(most)) + 1
    return [10.0**power for power in range(first, last + 1)]


def draw_panel(edges, title, ticks_around, scale, lines):
    """Draws a panel. `lines` has for each way a list of (callers, least, median, most)."""
    left, right = edges
    callers, least, _, most = zip(*(point for points in lines for point in points))
    slot = (right - left) / len(set(callers))
    x_of = {count: left + slot * (i + 0.5) for i, count in enumerate(sorted(set(callers)))}
    ticks = ticks_around(min(least), max(most))
    low, high = scale(ticks[0]), scale(ticks[-1])

    def y_of(value):
        return BOTTOM - (scale(value) - low) / (high - low) * (BOTTOM - TOP)

    drawn = [text(left, TOP - 16, title, "panel")]
    for tick in ticks:
        drawn.append(line(left, y_of(tick), right, y_of(tick), "#e2e2e2"))
        drawn.append(text(left - 8, y_of(tick) + 4, format_number(tick), "end"))
    for count, x in x_of.items():
        drawn.append(line(x, TOP, x, BOTTOM, "#f0f0f0"))
        drawn.append(text(x, BOTTOM + 18, format_number(count), "middle"))
    drawn.append(text((left + right) / 2, BOTTOM + 36, "callers", "middle"))
    for index, (points, colour) in enumerate(zip(lines, cycle(COLOURS))):
        # The offset keeps the whiskers of one category from hiding one another.
        offset = (index - (len(lines) - 1) / 2) * 9
        places = [(x_of[count] + offset, y_of(median)) for count, _, median, _ in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), (_, least, _, most) in zip(places, points):
            drawn.append(line(x, y_of(least), x, y_of(most), colour, 1.5))
            for end in (least, most):
                drawn.append(line(x - 3, y_of(end), x + 3, y_of(end), colour, 1.5))
            drawn.append(dot(x, y, colour))
    return drawn


def draw_legend(ways):
    drawn, x = [], PANELS[0][0]
    for way, colour in zip(ways, cycle(COLOURS)):
        drawn += [line(x, 60, x + 24, 60, colour, 2), dot(x + 12, 60, colour)]
        drawn.append(text(x + 31, 64, way))
        x += 62 + 6.6 * len(way)  # an estimate of the width: an SVG cannot measure text
    return drawn


def draw(rows):
    rates, waits = {}, {}
    for row in sorted(rows, key=lambda row: row["callers"]):
        rates.setdefault(row["way"], []).append((row["callers"], *row["per_second"]))
        wait = row["p99_us"] / 1000  # has no spread, so that its whisker is hidden by the dot
        waits.setdefault(row["way"], []).append((row["callers"], wait, wait, wait))
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    drawn = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {WIDTH} {HEIGHT}">']
    # A white background keeps the dark text readable on a dark page.
    drawn += [f"<style>{STYLE}</style>", f'<rect {size} fill="#fff"/>']
    drawn.append(text(PANELS[0][0], 34, "Many callers contend for the same two accounts", "title"))
    drawn += draw_legend(rates)
    drawn += draw_panel(PANELS[0], "transfers per second", even_ticks, float, rates.values())
    drawn += draw_panel(PANELS[1], "p99 latency, ms", decade_ticks, math.log10, waits.values())
    return "\n".join([*drawn, text(PANELS[0][0], HEIGHT - 12, NOTE, "note"), "</svg>", ""])


def main():
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "benches/contention.svg"
    try:
        rows = json.loads(RESULTS.read_text(encoding="utf-8"))["contention"]
    except FileNotFoundError:
        sys.exit(f"{RESULTS} does not exist: run `make bench` first.")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(draw(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
