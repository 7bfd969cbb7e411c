"""What the UI shows of a run: numbers, the statement, a preview, a plot. No telephone numbers, no texts."""

import base64
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from math import ceil, nan
from typing import TYPE_CHECKING, Any

import dagster as dg
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from smarttext_pipelines.core.display import shown
from smarttext_pipelines.defs.headlines import headline

if TYPE_CHECKING:
    from smarttext_pipelines.budgets.month import MonthSpend
    from smarttext_pipelines.rollup import RolledUp
    from smarttext_pipelines.rollup.preview import History, Preview
    from smarttext_pipelines.rollup.report import ObservedSource


_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


MAX_COPIES = 31
_CELL_LENGTH = 80
_MAX_TICKS = 8
_MAX_COLUMNS = 6
"""Columns of a preview: a wider one is cut off at the edge of the page."""


def column_schema(table: Table) -> dg.TableSchema:
    """Return the columns of a table with the meaning that the data dictionary gives them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                c.name,
                c.type.compile(_DIALECT).lower(),
                description=c.comment,
                constraints=dg.TableColumnConstraints(nullable=bool(c.nullable)),
            )
            for c in table.columns
        ]
    )


def day_metadata(result: "RolledUp", day: date, preview: "Preview") -> dict[str, Any]:
    """Return the metadata of one partition."""
    done = result.days[day]
    optional = {
        "events_read": done.events_read,
        "newest_event_at": done.newest_event_at and dg.MetadataValue.timestamp(done.newest_event_at),
        "largest_change": done.largest_change,
        "coverage_percent": preview.coverage.get(day),
    }
    sums = [{"measure": name, "sum": f"{value:,}"} for name, value in done.totals.items() if name != "rows"]
    return {
        **headline(result.metric, done.totals),
        "dagster/partition_row_count": done.rows,
        "businesses": preview.businesses.get(day, 0),
        "rows_changed": done.rows_changed,
        **{name: value for name, value in optional.items() if value is not None},
        "preview": table_metadata(_narrow(preview.rows.get(day, []))),
        "sums": table_metadata(sums),
        "kept_its_numbers": done.is_kept,
        "engine": result.engine,
        "sql": _statement(result, day),
    }


def _narrow(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows without empty columns."""
    filled = [name for name in (rows[0] if rows else ()) if any(row[name] for row in rows)][:_MAX_COLUMNS]
    return [{name: row[name] for name in filled} for row in rows]


def _statement(result: "RolledUp", day: date) -> dg.MetadataValue[Any]:
    """Return the statement; a long range has one, which is stored once and not with each of its days."""
    last = max(result.days)
    if len(result.days) > MAX_COPIES and day != last:
        return dg.MetadataValue.text(f"one statement for the whole range; it is stored with {last}")
    return dg.MetadataValue.md(f"```sql\n{result.sql}\n```")


def table_metadata(rows: Sequence[Mapping[str, Any]]) -> dg.MetadataValue[Any]:
    """Return rows of the same columns as a table, which every page shows at once; Markdown is behind a link on some."""
    if not rows:
        return dg.MetadataValue.text("none")
    records = [dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in rows]
    columns = [dg.TableColumn(name, "string") for name in rows[0]]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if value.tzinfo else f"{value:%Y-%m-%d %H:%M:%S}"
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    return f"{value:,}" if is_number else shown(str(value), _CELL_LENGTH)


def observation(source: "ObservedSource") -> dg.AssetObservation:
    """Return what a rollup saw of a source, for the source's own page."""
    metadata: dict[str, Any] = {"dagster/row_count": source.rows_estimated}
    if source.rows_in_days is not None:
        metadata["rows_in_days_read"] = source.rows_in_days
    if source.newest_event_at is not None:
        metadata["newest_event_at"] = dg.MetadataValue.timestamp(source.newest_event_at)
    return dg.AssetObservation(source.name, metadata=metadata)


def month_metadata(month: "MonthSpend") -> dict[str, Any]:
    """Return what the month has cost up to the last day of a rollup."""
    expected = "unknown" if month.expected_usd is None else f"{month.expected_usd:.2f}"
    return {
        "month_to_date_usd": float(month.month_usd),
        "month_days_missing": month.days_missing,
        "expected_at_month_end_usd": expected,
    }


def plot_metadata(title: str, history: "History") -> dg.MetadataValue:
    """Return a plot of the last 30 days as an image in markdown."""
    from matplotlib.figure import Figure

    # Drawn once, with places and ticks that are given: a layout that fits itself, and axes of dates, take a third of
    # the time of a small rollup.
    figure = Figure(figsize=(7, 2.4))
    axes = figure.add_axes((0.1, 0.12, 0.88, 0.76))
    for name, values in history.measures.items():
        known = [nan if value is None else float(value) for value in values]
        axes.plot(known, marker=".", linewidth=1.2, label=name.replace("_", " "))
    axes.set_title(title, fontsize=9)
    axes.set_ylim(bottom=0)
    places = range(0, len(history.days), max(1, ceil(len(history.days) / _MAX_TICKS)))
    axes.set_xticks(places, [f"{history.days[place]:%d %b}" for place in places])
    axes.tick_params(labelsize=7)
    if history.measures:
        axes.legend(fontsize=7, frameon=False, loc="upper left")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=80)
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(image.getvalue()).decode()})")
