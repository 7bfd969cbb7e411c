"""The findings of failed rollup checks."""

from collections.abc import Mapping
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from smarttext_pipelines.core.days import FIRST_DAY, LAST_DAY, DayRange
from smarttext_pipelines.core.display import shown
from smarttext_pipelines.database.findings import Finding, date_phrase, first_rows, on_days
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.rollup import concerned
from smarttext_pipelines.rollup.quality import Share, ShareCheck, undated_rows, undated_rows_query
from smarttext_pipelines.rollup.write import RolledUp
from smarttext_pipelines.schema.tables.lookup import table_named

_MAX_VALUES, _VALUE_LENGTH = 3, 30


def share_finding(
    connection: Connection, check: ShareCheck, shares: Mapping[date, Share], zone: ZoneInfo
) -> Finding | None:
    """Return the finding about the shares; None when all are within the limit."""
    above = {day: share for day, share in shares.items() if share.percent > check.limit_percent}
    if not above:
        return None
    worst = max(above, key=lambda day: (above[day].percent, above[day].part, day))
    sql = check.concerned(above, zone)
    rows = first_rows(connection, sql)
    values = dict.fromkeys(shown(str(row[check.named]), _VALUE_LENGTH) for row in rows if check.named)
    share, names = above[worst], list(values)[:_MAX_VALUES]
    named = f": {', '.join(names)}{' and others' if len(values) > _MAX_VALUES else ''}" if names else ""
    others = f"; {len(above)} of {len(shares)} days are above {check.limit_percent:g} %" if len(shares) > 1 else ""
    said = f"{share.part:,} of {share.whole:,} {check.whole} on {worst} {check.part}{named}{others}"
    return Finding(said, rows, sql)


def history_finding(connection: Connection, result: RolledUp) -> Finding | None:
    """Return which days kept older numbers; None when none did."""
    if not result.kept:
        return None
    metric = METRICS[result.metric]
    facts = [METRICS[name].recorded_as for name in metric.inputs if name in METRICS]
    tables = dict.fromkeys([metric.recorded_as, *([metric.source] if metric.source else []), *facts])
    first, last = min(result.kept), max(result.kept)
    said = (
        f"{len(result.kept):,} of {len(result.days):,} days kept older numbers, {date_phrase(first, last)}: "
        "their events are no longer all there"
    )
    sql = concerned.rows_read(tables, result.kept)
    return Finding(said, first_rows(connection, sql), sql)


def undated_finding(connection: Connection, source: str, zone: ZoneInfo) -> Finding | None:
    """Return which rows belong to no day; None when all do."""
    rows = undated_rows(connection, source, zone)
    if not rows:
        return None
    said = (
        f"{rows:,} rows of {source} have no time, or one outside {FIRST_DAY} to {LAST_DAY}: they belong to no day and "
        "are in no number"
    )
    sql = undated_rows_query(source, zone)
    return Finding(said, first_rows(connection, sql), sql)


def repeated_finding(
    connection: Connection, source: str, repeated: Mapping[date, int], zone: ZoneInfo
) -> Finding | None:
    """Return which values are no keys; None when all are."""
    if not repeated:
        return None
    kinds = "call sids" if source == "call_events" else "message sids or request ids"
    said = (
        f"{sum(repeated.values()):,} {kinds} have more rows or numbers than one of them can have, "
        f"{date_phrase(min(repeated), max(repeated))}"
    )
    sql = concerned.repeated_keys(source, repeated, zone)
    return Finding(said, first_rows(connection, sql), sql)


def days_stored(metric: str, days: DayRange, said: str) -> Finding:
    """Return the finding of a rollup that was rolled back; the stored numbers are unchanged."""
    target = table_named(metric)
    day = METRICS[metric].day
    sql = (
        f"SELECT {day} AS day, count(*) AS rows, max(updated_at) AS updated_at\nFROM {target.fullname}\n"
        f"WHERE {on_days(day, days)}\nGROUP BY {day}\nORDER BY {day}"
    )
    return Finding(said, [{"day": str(days)}], sql)
