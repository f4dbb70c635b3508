"""Reports of calibrations: one HTML page that contains its figures."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from matplotlib.figure import Figure

from napari_coordgate.config import Lens
from napari_coordgate.io.files import atomic_write
from napari_coordgate.version import __version__

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;"
    "color:#222}table{border-collapse:collapse;margin:1em 0}td,th{border-bottom:1px solid #ddd;"
    "padding:.2em .9em;text-align:left}td.number{text-align:right;font-variant-numeric:"
    "tabular-nums}img{max-width:100%}h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}"
)


@dataclass(frozen=True, eq=False)
class Section:
    """Part of a report: a title, then lines of text, a table and a figure, as far as given."""

    title: str
    lines: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    figure: Figure | None = None


def write_report(path: Path, title: str, sections: Sequence[Section], overwrite: bool) -> None:
    """Write a self-contained HTML page; OutputError if that fails."""
    body = "\n".join(map(_section, sections))
    made = f"napari-coordgate {__version__}, {date.today().isoformat()}"
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1><p>{made}</p>\n{body}\n</body></html>\n"
    )
    with atomic_write(path, overwrite) as temporary:
        temporary.write_text(page, encoding="utf-8")


def parameter_rows(lens: Lens, standard_errors: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Rows of a table: each number that describes a lens, with its error if it was fitted."""
    rows = []
    for name, field in type(lens).model_fields.items():
        value = getattr(lens, name)
        if isinstance(value, float | int):
            rows.append((name, value, standard_errors.get(name), field.description or ""))
        elif isinstance(value, tuple) and len(value) == 2:
            ends = [end for end in ("y", "x", "0", "1") if f"{name}.{end}" in standard_errors]
            for end, number in zip(ends or ("0", "1"), value, strict=True):
                error = standard_errors.get(f"{name}.{end}")
                rows.append((f"{name}.{end}", number, error, ""))
    return [
        (name, f"{value:.4g}", "given" if error is None else f"± {error:.2g}")
        for name, value, error, _ in rows
    ]


def _section(section: Section) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
    parts += [f"<p>{html.escape(line)}</p>" for line in section.lines]
    if section.rows:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in section.columns)
        rows = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in section.rows)
        parts.append(f"<table><tr>{head}</tr>\n{rows}</table>")
    if section.figure is not None:
        parts.append(f'<img alt="{html.escape(section.title)}" src="{_as_url(section.figure)}">')
    return "\n".join(parts)


def _cell(text: str) -> str:
    is_number = text.lstrip("±+- ")[:1].isdigit()
    return f"<td{' class=number' if is_number else ''}>{html.escape(text)}</td>"


def _as_url(figure: Figure) -> str:
    """Figure as a PNG image in a URL."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
