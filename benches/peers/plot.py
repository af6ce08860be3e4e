"""Charts of the ratios, as SVG that reads on a light and on a dark page."""

import math
from xml.sax.saxutils import escape

LABEL, BAR, WIDTH = 170, 380, 700
ROW, GAP, TOP = 20, 34, 44
OURS, PEER = "#c2410c", "#7c8aa0"
TEXT = 'font-family="sans-serif" font-size="12" fill="#808a97"'


def text(x, y, words, extra=""):
    return f'<text x="{x:.0f}" y="{y}" {TEXT} {extra}>{escape(words)}</text>'


def chart(heading, ours, groups, unit="µs"):
    """`groups` is a list of (name, [(server, cost in `unit`, ratio)])."""
    longest = max(ratio for _, bars in groups for _, _, ratio in bars)
    heading = heading.replace("`", "")
    parts = [text(8, 20, f"{heading} (less is better)", 'font-weight="bold"')]
    y = TOP
    for name, bars in groups:
        parts.append(text(8, y + 14, name, 'font-weight="bold"'))
        y += ROW
        for server, cost, ratio in bars:
            length = max(1, ratio / longest * BAR)
            colour = OURS if server == ours else PEER
            parts.append(text(LABEL - 6, y + 14, server, 'text-anchor="end"'))
            parts.append(f'<rect x="{LABEL}" y="{y + 3}" width="{length:.1f}" height="{ROW - 6}" fill="{colour}"/>')
            parts.append(text(LABEL + length + 6, y + 14, f"{ratio:.2f} × ({cost:.2f} {unit})"))
            y += ROW
        y += GAP - ROW
    return page(parts, y)


def page(parts, height):
    body = "\n".join(parts)
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{body}\n</svg>\n'


COLOURS = ["#c2410c", "#0e7490", "#7c8aa0", "#4d7c0f", "#a16207", "#7e22ce", "#be185d"]
LEFT, PLOT_WIDTH, PLOT_HEIGHT = 48, 620, 240


def lines(heading, curves):
    """`curves` is {name: [(size, cost)]}; every curve is drawn as multiples of its first point, sizes by their power."""
    sizes = [size for points in curves.values() for size, _ in points]
    first, last = math.log10(min(sizes)), math.log10(max(sizes))
    most = max(cost / points[0][1] for points in curves.values() for _, cost in points) * 1.05

    def place(size, ratio):
        x = LEFT + (math.log10(size) - first) / (last - first) * PLOT_WIDTH
        return x, TOP + PLOT_HEIGHT * (1 - ratio / most)

    parts = [text(8, 20, f"{heading} (flat is good)", 'font-weight="bold"')]
    for ratio in range(0, math.ceil(most), max(1, math.ceil(most) // 6)):
        _, y = place(10**first, ratio)
        parts.append(f'<path d="M{LEFT} {y:.1f}h{PLOT_WIDTH}" stroke="#808a97" stroke-opacity="0.3"/>')
        parts.append(text(LEFT - 6, f"{y + 4:.0f}", f"{ratio} ×", 'text-anchor="end"'))
    for power in range(math.ceil(first), math.floor(last) + 1):
        x, y = place(10**power, 0)
        parts.append(text(x, f"{y + 18:.0f}", f"{10**power:,}", 'text-anchor="middle"'))
    y = TOP + PLOT_HEIGHT + 40
    for colour, (name, points) in zip(COLOURS, curves.items()):
        spots = [place(size, cost / points[0][1]) for size, cost in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<rect x="{LEFT}" y="{y - 9}" width="12" height="12" fill="{colour}"/>')
        size, cost = points[-1]
        parts.append(text(LEFT + 20, y + 1, f"{name}: {points[0][1]:.3g} µs at {points[0][0]:,}, {cost:.3g} at {size:,}"))
        y += ROW
    return page(parts, y)
