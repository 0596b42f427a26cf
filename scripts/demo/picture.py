"""The screen as an SVG, for the README: rich's export in a frame that fetches nothing."""

from __future__ import annotations

import io
from xml.sax.saxutils import escape

from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

from scripts.demo.drawing import WIDTH

THEME = TerminalTheme(
    background=(13, 17, 23),
    foreground=(230, 237, 243),
    normal=[
        (72, 79, 88),
        (218, 54, 51),
        (63, 185, 80),
        (227, 179, 65),
        (88, 166, 255),
        (219, 130, 255),
        (86, 212, 221),
        (240, 246, 252),
    ],
)

# Rich's own frame names a font on a server; this one asks for nothing, and takes what the reader's machine has.
FRAME = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img"
  aria-label="{subject}">
  <style>
    .{unique_id}-matrix {{
      font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace;
      font-size: {char_height}px;
      line-height: {line_height}px;
    }}
    .{unique_id}-title {{ font-size: 16px; font-family: system-ui, sans-serif; opacity: 0.6; }}
    {styles}
  </style>
  <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
    </clipPath>
    {lines}
  </defs>
  {chrome}
  <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix" xml:space="preserve">{matrix}</g>
  </g>
</svg>
"""


def picture(screen: RenderableType, *, title: str, subject: str) -> str:
    """A screen as an SVG that fetches nothing. `subject`: what it shows, for who cannot see it."""
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(screen, "")  # the last line is cut at its feet without one below it
    return console.export_svg(
        title=title,
        theme=THEME,
        code_format=FRAME.replace("{subject}", escape(subject, {'"': "&quot;"})),
        font_aspect_ratio=0.6,
        unique_id="headgate",
    )
