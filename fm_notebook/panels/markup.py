"""HTML that GitHub's and JupyterLab's sanitizers leave whole: tables, details and PNG data URIs; no script, SVG, class or colour.

Every function takes plain text and escapes it, but for parameters called `html`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from fm_notebook.figures.picture import Picture

LEFT = ' align="left" style="text-align: left"'
RIGHT = ' align="right" style="text-align: right"'


def paragraph(*texts: str, strong: str = "") -> str:
    """A paragraph of `texts`, a line each, after a `strong` beginning."""
    head = f"<b>{escape(strong)}</b> " if strong else ""
    return f"<p>{head}{'<br>'.join(map(escape, texts))}</p>"


def bullets(texts: Iterable[str]) -> str:
    """A list; nothing if there are no `texts`."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""


def image(picture: Picture | None) -> str:
    """The picture with its alternative text."""
    if picture is None:
        return ""
    return f'<p><img src="{picture.data_uri}" alt="{escape(picture.alt)}" width="{picture.width}"></p>'


def details(summary: str, html: str, *, shown: bool = False) -> str:
    """A part that opens on demand; nothing if `html` is empty."""
    if not html:
        return ""
    return f"<details{' open' if shown else ''}><summary>{escape(summary)}</summary>{html}</details>"


def pairs(rows: Iterable[tuple[str, str]], caption: str = "") -> str:
    """A two-column table of name and value, without rows whose value is empty."""
    body = "".join(
        f'<tr><th scope="row"{LEFT}>{escape(name)}</th><td{LEFT}>{escape(value)}</td></tr>' for name, value in rows if value
    )
    return f"<table>{_caption(caption)}<tbody>{body}</tbody></table>" if body else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table whose first column names the row and whose others are numbers, of one line or more; nothing without rows."""
    body = "".join(_row(cells) for cells in rows)
    if not body:
        return ""
    first, *others = header
    names = f'<th scope="col"{LEFT}>{escape(first)}</th>' + "".join(
        f'<th scope="col"{RIGHT}>{escape(name)}</th>' for name in others
    )
    return f"<table>{_caption(caption)}<thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def _row(cells: Sequence[str]) -> str:
    first, *others = cells
    numbers = "".join(f"<td{RIGHT}>{'<br>'.join(escape(cell).split(chr(10)))}</td>" for cell in others)
    return f'<tr><th scope="row"{LEFT}>{escape(first)}</th>{numbers}</tr>'


def _caption(text: str) -> str:
    return f"<caption{LEFT}><b>{escape(text)}</b></caption>" if text else ""
