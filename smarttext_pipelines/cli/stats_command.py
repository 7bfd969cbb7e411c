"""``smarttext stats``: what ``daily_stats`` says, as a table, CSV or JSON."""

import csv
import json
import sys
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from rich.table import Table
from sqlalchemy import Connection, func, select

from smarttext_pipelines.cli.options import (
    BusinessOption,
    DateOption,
    FromOption,
    ToOption,
    end_not_computed,
    find_business,
    parse_days,
    today,
)
from smarttext_pipelines.cli.printing import table_console
from smarttext_pipelines.core.days import DayRange, day_end
from smarttext_pipelines.core.display import shown_name, visible
from smarttext_pipelines.core.rates import percent, shown_rate
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.database.rolled_up_days import computed_days
from smarttext_pipelines.launch.databases import event_database
from smarttext_pipelines.schema.tables.source_tables import businesses
from smarttext_pipelines.schema.tables.statistics import daily_stats
from smarttext_pipelines.settings import load_settings


class Format(StrEnum):
    """How rows are printed."""

    table = "table"
    csv = "csv"
    json = "json"


def stats(
    *,
    day: DateOption = None,
    first: FromOption = None,
    last: ToOption = None,
    business: BusinessOption = None,
    format_: Annotated[Format, typer.Option("--format")] = Format.table,
) -> None:
    """Show daily_stats of a day or a range of days; default is yesterday. Exit code 3: a day was not rolled up."""
    settings = load_settings()
    days = parse_days(settings, day, first, last, default=today(settings) - timedelta(days=1), partitions_only=False)
    with event_database(settings) as (_, engine), connected(engine) as connection:
        chosen = None if business is None else find_business(connection, business)
        rows = _read(connection, days, chosen)
        # The old cron script's rows count: they were never ours to compute.
        missing = {*days} - computed_days(connection, days) - {row["date"] for row in rows}
    if format_ is Format.table:
        _print_table(rows, days, settings.zone)
    elif format_ is Format.json:
        typer.echo(json.dumps(rows, default=str, indent=2))
    else:
        writer = csv.DictWriter(sys.stdout, ["date", "business", "business_id", *(c.name for c in _COLUMNS)])
        writer.writeheader()
        writer.writerows({**row, "business": _as_text(row["business"])} for row in rows)
    end_not_computed(missing)


def _as_text(name: str) -> str:
    """Return a name that neither a terminal nor a spreadsheet takes for a command."""
    name = visible(name)
    return f"'{name}" if name.startswith(("=", "+", "-", "@")) else name


_COLUMNS = [c for c in daily_stats.columns if c.name not in ("id", "business_id", "updated_at", "date")]


def _read(connection: Connection, days: DayRange, business: UUID | None) -> list[dict[str, Any]]:
    rows = (
        select(
            daily_stats.c.date,
            func.coalesce(businesses.c.name, "(no business)").label("business"),
            daily_stats.c.business_id,
            *_COLUMNS,
        )
        .outerjoin(businesses, businesses.c.id == daily_stats.c.business_id)
        .where(daily_stats.c.date.between(days.first, days.last))
        .order_by(daily_stats.c.date, businesses.c.name.nulls_last())
    )
    if business is not None:
        rows = rows.where(daily_stats.c.business_id == business)
    return [dict(row) for row in connection.execute(rows).mappings()]


_WIDTH = 110
"""Below it the lines between the columns are left out, so that the columns stay."""


def _print_table(rows: list[dict[str, Any]], days: DayRange, zone: ZoneInfo) -> None:
    console = table_console()
    if not rows:
        console.print(f"no row of daily_stats for {days}")
        return
    if console.width < _WIDTH:
        table = Table(title=f"daily_stats {days}", box=None, padding=(0, 1, 0, 0))
    else:
        table = Table(title=f"daily_stats {days}")
    table.add_column("day", no_wrap=True)
    table.add_column("business", min_width=12)
    for name in ("missed", "texts", "ok", "failed", "failed %", "known %", "tokens", "OpenAI USD"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(f"{row['date']}{'' if _is_whole(row, zone) else ' …'}", shown_name(row["business"]), *_shown(row))
    console.print(table)
    if not all(_is_whole(row, zone) for row in rows):
        console.print("… the day is not over: compare it with nothing")


def _shown(row: dict[str, Any]) -> list[str]:
    """Return the cells of a row; a rate of nothing is a dash, and beside a rate stands how much of it is known."""
    ok, failed = row["sms_success_count"] or 0, row["sms_failure_count"] or 0
    suppressed, delivered = row["sms_suppressed_count"], row["sms_delivered_count"]
    known = None if delivered is None else percent(delivered + failed, row["messages_sent"] - suppressed)
    rates = [shown_rate(percent(failed, ok + failed), known), "–" if known is None else f"{known:.2f}"]
    names = ("calls_missed", "messages_sent", "sms_success_count", "sms_failure_count", "openai_tokens_used")
    counts = ["–" if row[name] is None else f"{row[name]:,}" for name in names]
    cost = row["openai_cost_estimate"]
    return [*counts[:4], *rates, counts[4], "–" if cost is None else f"{cost:.4f}"]


def _is_whole(row: dict[str, Any], zone: ZoneInfo) -> bool:
    """Tell whether the row was read after its day had ended; rows of the old cron script do not say."""
    through: datetime | None = row["data_through"]
    end = day_end(row["date"], zone)
    return through >= end if through else datetime.now(UTC) >= end
