"""``smarttext stats``: what ``daily_stats`` says, as a table, CSV or JSON."""

import csv
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import Connection, and_, func, select

from smarttext_pipelines.billing import BilledDay, read_billed, total
from smarttext_pipelines.cli.options import (
    BusinessOption,
    DateOption,
    FromOption,
    JsonOption,
    ToOption,
    UnattributedOption,
    end_not_computed,
    find_business,
    parse_days,
    today,
)
from smarttext_pipelines.cli.printing import print_json, print_rows, say
from smarttext_pipelines.core.days import DayRange, day_end
from smarttext_pipelines.core.display import shown_name, visible
from smarttext_pipelines.core.rates import percent, shown_rate
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.customers.robocallers import RobocallsOfDays, read_robocalls
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.database.rolled_up_days import computed_days
from smarttext_pipelines.digest.robocall_figures import in_words, limits_of
from smarttext_pipelines.digest.totals import Totals, read_totals, summed
from smarttext_pipelines.launch.databases import event_database
from smarttext_pipelines.schema.tables.source_tables import businesses
from smarttext_pipelines.schema.tables.statistics import daily_stats
from smarttext_pipelines.schema.tables.statistics import missed_call_replies as replies
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
    unattributed: UnattributedOption = False,
    format_: Annotated[Format, typer.Option("--format", help="Form of the rows.")] = Format.table,
    as_json: JsonOption = False,
) -> None:
    """Show daily_stats of a day or a range of days; default is yesterday. Exit code 3: a day was not rolled up."""
    settings = load_settings()
    days = parse_days(settings, day, first, last, default=today(settings) - timedelta(days=1), partitions_only=False)
    with event_database(settings) as (_, engine), connected(engine) as connection:
        chosen = None if business is None else find_business(connection, business)
        rows = _read(connection, days, chosen, unattributed=unattributed)
        by_day = read_totals(connection, days, business=chosen, unattributed=unattributed)
        limits, zone = limits_of(settings), settings.zone
        robocalls = read_robocalls(connection, days, limits, zone, business=chosen, unattributed=unattributed)
        # The old cron script's rows count: they were never ours to compute.
        billed = [] if chosen or unattributed else read_billed(connection, days)
        missing = {*days} - computed_days(connection, days) - {row["date"] for row in rows}
    rows = [row | _without_robocallers(row, robocalls) for row in rows]
    if as_json or format_ is Format.json:
        print_json([{name: value for name, value in row.items() if name != "in_time"} for row in rows])
    elif format_ is Format.table:
        _print_table(rows, list(by_day.values()), days, zone)
        say(in_words(by_day, robocalls, names=business is None))
        if billed:
            say(_bill(billed))
    else:
        names = ["date", "business", "business_id", *(c.name for c in _COLUMNS), *_WITHOUT]
        writer = csv.DictWriter(sys.stdout, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**row, "business": _as_text(row["business"])} for row in rows)
    end_not_computed(missing)


def _as_text(name: str) -> str:
    """Return a name that neither a terminal nor a spreadsheet takes for a command."""
    name = visible(name)
    return f"'{name}" if name.startswith(("=", "+", "-", "@")) else name


_COLUMNS = [c for c in daily_stats.columns if c.name not in ("id", "business_id", "updated_at", "date")]


_WITHOUT = (
    "calls_missed_without_robocallers", "replied_in_time_without_robocallers",
    "missed_calls_unreplied_without_robocallers", "likely_robocallers",
)  # fmt: skip


def _without_robocallers(row: dict[str, Any], found: RobocallsOfDays) -> dict[str, int | None]:
    """Return the promise figures of a row without likely robocallers, and how many these are; None is unknown."""
    theirs = found.of(row["date"], row["business_id"])
    if theirs is None:
        return dict.fromkeys(_WITHOUT)
    counts = (row["calls_missed"], row["in_time"], row["missed_calls_unreplied"])
    taken_off = (theirs.missed, theirs.in_time, theirs.never)
    rest = [None if count is None else count - part for count, part in zip(counts, taken_off, strict=True)]
    return dict(zip(_WITHOUT, (*rest, theirs.callers), strict=True))


def _read(connection: Connection, days: DayRange, business: UUID | None, *, unattributed: bool) -> list[dict[str, Any]]:
    rows = (
        select(
            daily_stats.c.date,
            func.coalesce(businesses.c.name, "(no business)").label("business"),
            daily_stats.c.business_id,
            *_COLUMNS,
            replies.c.replied_in_time_count.label("in_time"),
        )
        .outerjoin(businesses, businesses.c.id == daily_stats.c.business_id)
        .outerjoin(
            replies,
            and_(
                replies.c.day == daily_stats.c.date,
                replies.c.business_id.is_not_distinct_from(daily_stats.c.business_id),
            ),
        )
        .where(daily_stats.c.date.between(days.first, days.last))
        .order_by(daily_stats.c.date, businesses.c.name.nulls_last())
    )
    if unattributed:
        rows = rows.where(daily_stats.c.business_id.is_(None))
    if business is not None:
        rows = rows.where(daily_stats.c.business_id == business)
    found = [dict(row) for row in connection.execute(rows).mappings()]
    # Without a row of the fact there was no missed call, if the day knows its replies.
    known = [row["missed_calls_unreplied"] is not None for row in found]
    return [
        row | {"in_time": (row["in_time"] or 0) if is_known else None}
        for row, is_known in zip(found, known, strict=True)
    ]


_RIGHT = ("missed", "in time", "never", "texts", "ok", "failed", "failed %", "known %", "tokens", "OpenAI USD")


def _print_table(rows: list[dict[str, Any]], totals: Sequence[Totals], days: DayRange, zone: ZoneInfo) -> None:
    if not rows:
        say(f"no row of daily_stats for {days}")
        return
    shown = [
        {
            "day": f"{row['date']}{'' if _is_whole(row, zone) else ' …'}",
            "business": shown_name(row["business"]),
            **dict(zip(_RIGHT, _shown(row), strict=True)),
        }
        for row in rows
    ]
    total = summed(totals)
    if len(rows) > 1:
        shown.append({"day": "total", "business": counted(len(rows), "row"), **_total_row(total)})
    print_rows(shown, title=f"daily_stats {days}", right=_RIGHT)
    say(_told(total))
    say(
        "in time, never: of the missed calls; failed %: of the texts that succeeded or failed; "
        "known %: of the texts sent, suppressed ones left out"
    )
    if not all(_is_whole(row, zone) for row in rows):
        say("… the day is not over: compare it with nothing")


def _total_row(t: Totals) -> dict[str, str]:
    known = t.known_percent
    return {
        "missed": f"{t.missed:,}",
        "in time": _or_dash(t.in_time),
        "never": _or_dash(t.never),
        "texts": f"{t.texts:,}",
        "ok": f"{t.ok:,}",
        "failed": f"{t.failed:,}",
        "failed %": shown_rate(percent(t.failed, t.decided), known),
        "known %": "–" if known is None else f"{known:.2f}",
        "tokens": f"{t.tokens:,}",
        "OpenAI USD": f"{t.openai_usd:.4f}",
    }


def _told(t: Totals) -> str:
    """Return what became of the missed calls, and what was paid."""
    answered = (
        "whether they were answered was not computed for all of them"
        if t.in_time is None
        else f"{t.in_time:,} answered in time, {t.late:,} late, {t.never:,} never, {t.unknown:,} unknown"
    )
    texts = "no price of a text is recorded" if t.texts_usd is None else f"texts {t.texts_usd:.4f} USD"
    fees = "" if t.fees_usd is None else f", carriers' fees {t.fees_usd:.4f} USD"
    return f"{counted(t.missed, 'missed call')}: {answered}; OpenAI {t.openai_usd:.4f} USD, {texts}{fees}"


def _bill(billed: Sequence[BilledDay]) -> str:
    """Return what OpenAI charges for the days that it told and that were recorded, and what is left of it."""
    known = [each for each in billed if each.unexplained_usd is not None]
    unknown = len(billed) - len(known)
    rest = f"; {counted(unknown, 'day')} unknown" if unknown else ""
    if not known:
        return f"OpenAI's own costs (days in UTC): {counted(unknown, 'day')} unknown"
    charged, recorded, left = (
        total(getattr(each, name) for each in known) for name in ("billed_usd", "recorded_usd", "unexplained_usd")
    )
    return (
        f"OpenAI's own costs of {counted(len(known), 'day')} (UTC): {charged:,.2f} USD charged, {recorded:,.2f} USD "
        f"recorded, {left:+,.2f} USD unexplained{rest}"
    )


def _or_dash(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"


def _shown(row: dict[str, Any]) -> list[str]:
    """Return the cells of a row; a rate of nothing is a dash, and beside a rate stands how much of it is known."""
    ok, failed = row["sms_success_count"] or 0, row["sms_failure_count"] or 0
    suppressed, delivered = row["sms_suppressed_count"], row["sms_delivered_count"]
    known = None if delivered is None else percent(delivered + failed, row["messages_sent"] - suppressed)
    rates = [shown_rate(percent(failed, ok + failed), known), "–" if known is None else f"{known:.2f}"]
    counts = [_or_dash(row[name]) for name in ("calls_missed", "in_time", "missed_calls_unreplied", "messages_sent")]
    decided = [_or_dash(row[name]) for name in ("sms_success_count", "sms_failure_count")]
    cost = row["openai_cost_estimate"]
    tokens = _or_dash(row["openai_tokens_used"])
    return [*counts, *decided, *rates, tokens, "–" if cost is None else f"{cost:.4f}"]


def _is_whole(row: dict[str, Any], zone: ZoneInfo) -> bool:
    """Tell whether the row was read after its day had ended; rows of the old cron script do not say."""
    through: datetime | None = row["data_through"]
    end = day_end(row["date"], zone)
    return through >= end if through else datetime.now(UTC) >= end
