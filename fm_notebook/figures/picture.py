"""A picture as a value, and the one way to make it."""

from __future__ import annotations

import base64
import io
import struct
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#808080"
BLUE, ORANGE, GREEN = "#3b82c4", "#cf7420", "#3f9c5a"
"""Mid tones, those of the panels: each has a contrast of at least 3.4 on white and on JupyterLab's dark grey."""

DPI = 192
"""Twice the pixels of the shown size, for sharp screens."""

LARGE_BYTES = 32_000

CHINESE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei",
    "SimHei", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Arial Unicode MS",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG with transparent ground and what to say to those who cannot see it.

    Attributes
    ----------
    png : bytes
    alt : str
        Plain text, not escaped.
    """

    png: bytes
    alt: str

    @property
    def data_uri(self) -> str:
        """For the ``src`` of an ``img``."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")

    @property
    def width(self) -> int:
        """Width to show it at, in CSS pixels."""
        return struct.unpack(">I", self.png[16:20])[0] * 96 // DPI

    def _repr_png_(self) -> bytes:
        return self.png


@cache
def chinese_font() -> str:
    """The first installed font with Chinese characters; empty if there is none."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in CHINESE_FONTS if name in installed), "")


def is_drawable(text: str) -> bool:
    """Whether an installed font has the characters of `text`; beyond Latin, Greek and Cyrillic only Chinese is looked for."""
    return all(ord(c) < 0x500 or 0x2000 <= ord(c) < 0x2070 for c in text) or (
        bool(chinese_font()) and all(map(_is_chinese, text))
    )


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of `width` by `height` CSS pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 96, height / 96), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    return figure


def quieten(axes: Axes, *, grid: bool = True) -> None:
    """Grey, thin axes on a clear ground, that read on light and dark pages."""
    axes.patch.set_alpha(0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(GREY)
        spine.set_linewidth(0.6)
    axes.tick_params(colors=GREY, labelsize=7.5, width=0.6, length=3)
    if grid:
        axes.grid(axis="y", color=GREY, alpha=0.18, linewidth=0.6)


def fonts() -> dict[Any, Any]:
    """Settings for `matplotlib.rc_context` under which Chinese is drawn where a font has it."""
    return {"font.family": ["DejaVu Sans", *filter(None, [chinese_font()])]}


def finish(figure: Figure, alt: str) -> Picture:
    """The picture of `figure`, with its colours reduced to a palette if it is large: a third of the bytes."""
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.03)
    png = raw.getvalue()
    return Picture(_with_palette(png) if len(png) > LARGE_BYTES else png, alt)


def _with_palette(png: bytes) -> bytes:
    from PIL import Image

    small = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGBA").quantize(colors=256, method=Image.Quantize.FASTOCTREE).save(small, "PNG", optimize=True)
    return min(small.getvalue(), png, key=len)


def _is_chinese(c: str) -> bool:
    return (
        ord(c) < 0x250
        or 0x2000 <= ord(c) < 0x2070
        or 0x3000 <= ord(c) < 0x3100
        or 0x4E00 <= ord(c) < 0xA000
        or 0xFF00 <= ord(c) < 0xFFF0
    )
