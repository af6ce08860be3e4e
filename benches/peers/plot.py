"""Bar charts of the CPU ratios, as SVG that reads on a light and on a dark page."""

from xml.sax.saxutils import escape

LABEL, BAR, WIDTH = 170, 380, 700
ROW, GAP, TOP = 20, 34, 44
OURS, PEER = "#c2410c", "#7c8aa0"
TEXT = 'font-family="sans-serif" font-size="12" fill="#808a97"'


def text(x, y, words, extra=""):
    return f'<text x="{x:.0f}" y="{y}" {TEXT} {extra}>{escape(words)}</text>'


def chart(title, baseline, ours, groups):
    """`groups` is a list of (name, [(server, µs per request, ratio)])."""
    longest = max(ratio for _, bars in groups for _, _, ratio in bars)
    title = title.replace("`", "")
    parts = [text(8, 20, f"{title}: server CPU, ratio to {baseline} (less is better)", 'font-weight="bold"')]
    y = TOP
    for name, bars in groups:
        parts.append(text(8, y + 14, name, 'font-weight="bold"'))
        y += ROW
        for server, cost, ratio in bars:
            length = max(1, ratio / longest * BAR)
            colour = OURS if server == ours else PEER
            parts.append(text(LABEL - 6, y + 14, server, 'text-anchor="end"'))
            parts.append(f'<rect x="{LABEL}" y="{y + 3}" width="{length:.1f}" height="{ROW - 6}" fill="{colour}"/>')
            parts.append(text(LABEL + length + 6, y + 14, f"{ratio:.2f} × ({cost:.2f} µs)"))
            y += ROW
        y += GAP - ROW
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}">\n{body}\n</svg>\n'
