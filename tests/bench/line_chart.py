"""A line chart with several panels as an SVG text. Standard library only; made for the documentation's figures."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 460, 300  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 34, 46
# Okabe and Ito's colours, told apart also by the colour-blind.
COLOURS = ["#000000", "#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#0072b2"]


def ticks(low, high, most=6):
    """Round numbers from low to high, at most `most` of them."""
    step = 10.0 ** -6
    while True:
        for factor in (1, 2, 5):
            first, last = math.ceil(low / (factor * step) - 1e-9), math.floor(high / (factor * step) + 1e-9)
            if last - first + 1 <= most:
                return [round(i * factor * step, 9) for i in range(first, last + 1)]
        step *= 10


def panel(title, lines, x_range, y_range, x_label, y_label, percent):
    """One panel at the origin. `lines`: (label, [(x, y)])."""

    def x_at(x):
        return LEFT + (x - x_range[0]) / (x_range[1] - x_range[0]) * (WIDTH - LEFT - RIGHT)

    def y_at(y):
        return HEIGHT - BOTTOM - (y - y_range[0]) / (y_range[1] - y_range[0]) * (HEIGHT - TOP - BOTTOM)

    out = [f'<text x="{WIDTH / 2}" y="18" text-anchor="middle" font-weight="bold">{escape(title)}</text>']
    for y in ticks(*y_range):
        text = f"{100 * y:.0f} %" if percent else f"{y:g}"
        out.append(f'<path d="M{LEFT} {y_at(y):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y_at(y) + 4:.1f}" text-anchor="end">{text}</text>')
    for x in ticks(*x_range):
        out.append(f'<text x="{x_at(x):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>')
    out.append(f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="#555"/>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    centre = (LEFT + WIDTH - RIGHT) / 2
    out.append(f'<text x="{centre}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_label)}</text>')
    out.append(f'<text transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>')
    for i, (label, points) in enumerate(lines):
        colour = COLOURS[i % len(COLOURS)]
        inside = [(x, y) for x, y in points if x_range[0] <= x <= x_range[1] and y_range[0] <= y <= y_range[1]]
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in inside)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = HEIGHT - BOTTOM - 14 * (len(lines) - i)
        out.append(f'<path d="M{WIDTH - 108} {y}h20" stroke="{colour}" stroke-width="3"/>')
        out.append(f'<text x="{WIDTH - 84}" y="{y + 4}">{escape(label)}</text>')
    return "\n".join(out)


def chart(panels, y_range, x_label, y_label, percent=False):
    """`panels`: (title, lines), side by side; each has its own range of x from 0."""
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * len(panels)} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#222">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for i, (title, lines) in enumerate(panels):
        longest = max((x for _, points in lines for x, _ in points), default=1)
        out.append(f'<g transform="translate({i * WIDTH} 0)">')
        out.append(panel(title, lines, (0, longest), y_range, x_label, y_label, percent))
        out.append("</g>")
    return "\n".join(out + ["</svg>"]) + "\n"
