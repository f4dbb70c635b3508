"""What notebooks show of an object: short HTML, or a figure."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def create_figure(width: float, height: float) -> Figure:
    """Figure of a size in inches that notebooks show without pyplot, which keeps every figure."""
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png")
            return buffer.getvalue()

    return ShownFigure(figsize=(width, height), layout="constrained")


def html_table(title: str, rows: Mapping[str, object]) -> str:
    """Table of names and values, escaped; long values are cut off, and None is left out."""
    from html import escape  # slow to load, and for notebooks only

    cells = "".join(
        f'<tr><td style="text-align: left">{escape(name)}</td>'
        f'<td style="text-align: left">{escape(_shortened(str(value)))}</td></tr>'
        for name, value in rows.items()
        if value is not None
    )
    return f"<table><caption>{escape(title)}</caption>{cells}</table>"


def _shortened(text: str, longest: int = 200) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"
