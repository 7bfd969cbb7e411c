"""View models as HTML, JSON and CSV. Jinja escapes whatever comes from data; numbers in CSV are exact. Pure."""

import csv
import io
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from smarttext_pipelines.core.display import no_formula, visible
from smarttext_pipelines.web.view import Cell, Series, Table

UNKNOWN = "unknown"
_MARKDOWN = MarkdownIt("commonmark", {"html": False})
_WIDTH, _HEIGHT = 600, 120

STATIC = files("smarttext_pipelines.web") / "static"


def shown_cell(value: Cell, unit: str = "", zone: str = "UTC") -> str:
    """Return a value as people read it: the same digits as the command line, times in the reporting zone."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        at = value.astimezone(ZoneInfo(zone)) if value.tzinfo else value
        return f"{at:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Decimal | float):
        return _number(value, unit)
    return visible(str(value))


def _number(value: Decimal | float, unit: str) -> str:
    if unit == "USD":
        return f"{value:,.4f}"
    if unit == "percent":
        return f"{value:,.2f} %"
    return f"{value:,f}".rstrip("0").rstrip(".") if "." in f"{value:f}" else f"{value:,f}"


def as_html(text: str) -> Markup:
    """Return a text in Markdown as HTML; HTML in it stays text."""
    return Markup(_MARKDOWN.render(text))  # noqa: S704 - the renderer escapes


def is_number(value: Cell) -> bool:
    """Tell whether a cell is set to the right."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def as_csv(table: Table) -> str:
    """Return a table as CSV: exact numbers, instants in ISO 8601, no text that a spreadsheet takes for a formula."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([column.key for column in table.columns])
    writer.writerows([[_csv_cell(row.get(column.key)) for column in table.columns] for row in table.rows])
    return out.getvalue()


def _csv_cell(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    text = visible(str(value)) if isinstance(value, str) else str(value)
    return no_formula(text) if isinstance(value, str) else text


def chart(series: Series) -> dict[str, Any]:
    """Return what the template draws: a line for each name in an SVG, broken where a day is unknown."""
    values = [float(v) for line in series.lines.values() for v in line if v is not None]
    top = max([*values, 1.0])
    step = _WIDTH / max(len(series.days) - 1, 1)

    def paths(line: tuple[Any, ...]) -> str:
        parts, is_open = [], False
        for place, value in enumerate(line):
            if value is not None:
                height = _HEIGHT - float(value) / top * _HEIGHT
                parts.append(f"{'L' if is_open else 'M'}{place * step:.1f} {height:.1f}")
            is_open = value is not None
        return " ".join(parts)

    lines = [
        {"name": name, "path": paths(line), "last": next((v for v in reversed(line) if v is not None), None)}
        for name, line in series.lines.items()
    ]
    return {"width": _WIDTH, "height": _HEIGHT, "top": top, "lines": lines}


def environment(package: str = "smarttext_pipelines.web") -> Environment:
    """Return Jinja with autoescape and the filters of the templates, which lie in a package."""
    found = Environment(
        loader=PackageLoader(package), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    found.filters |= {"cell": shown_cell, "visible": visible, "markdown": as_html}
    found.tests["numeric"] = is_number
    found.globals |= {"chart": chart, "address": address}
    return found


def address(path: str, query: Mapping[str, str], **changed: str) -> str:
    """Return an address with its state, some of it changed."""
    state = {**query, **changed}
    return f"{path}?{urlencode(state)}" if state else path
