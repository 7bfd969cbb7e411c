"""What is read after a rollup was committed, for its metadata: previews, history, shares, the source's rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.budgets.month import MonthSpend, read_month
from smarttext_pipelines.core.days import DayRange, day_end, is_final
from smarttext_pipelines.database.findings import Finding
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.rollup.failed_checks import (
    history_finding,
    repeated_finding,
    share_finding,
    undated_finding,
)
from smarttext_pipelines.rollup.preview import History, Preview, read_history, read_preview
from smarttext_pipelines.rollup.quality import SHARE_CHECKS, Share, ShareCheck
from smarttext_pipelines.rollup.write import RolledUp

_ESTIMATE = text("SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass('public.' || :name)")


@dataclass(frozen=True)
class ObservedSource:
    """What a rollup saw of a source table.

    Attributes:
        name: Table.
        rows_estimated: Rows of the whole table by the planner's estimate.
        rows_in_days: Rows of the days that were rolled up; None for a table that has no days.
        newest_event_at: Newest time among those; None when there are none.
    """

    name: str
    rows_estimated: int
    rows_in_days: int | None = None
    newest_event_at: datetime | None = None


@dataclass(frozen=True)
class Report:
    """What people are shown of a rollup.

    Attributes:
        shares: Shares of each day, by check; ``above`` has those that are not within their limit.
        kept: Days that kept older numbers; None when there are none, as of the next two.
        undated: Rows of the source that belong to no day.
        repeated: Values that identify nothing.
    """

    preview: Preview
    history: History
    shares: Mapping[ShareCheck, Mapping[date, Share]]
    above: Mapping[ShareCheck, Finding]
    kept: Finding | None
    undated: Finding | None
    repeated: Finding | None
    sources: Sequence[ObservedSource]
    month: MonthSpend | None


def read_report(connection: Connection, result: RolledUp, *, zone: ZoneInfo, settle_days: int) -> Report:
    """Read what is shown of a rollup."""
    metric = METRICS[result.metric]
    days = DayRange(min(result.days), max(result.days))
    is_over = result.as_of >= day_end(days.last, zone)
    shares = {
        check: _settled(check.read(connection, days), check, zone, settle_days, result.as_of)
        for check in SHARE_CHECKS
        if check.asset == metric.name
    }
    above = {check: share_finding(connection, check, of_days, zone) for check, of_days in shares.items()}
    return Report(
        preview=read_preview(connection, metric, days),
        history=read_history(connection, metric, days.last),
        shares=shares,
        above={check: finding for check, finding in above.items() if finding},
        kept=history_finding(connection, result),
        undated=undated_finding(connection, metric.source, zone) if metric.source else None,
        repeated=repeated_finding(connection, metric.source, result.repeated, zone) if metric.source else None,
        sources=_observe(connection, result, metric.source, metric.inputs),
        month=read_month(connection, days.last, is_over=is_over) if metric.name == "spend" else None,
    )


def _settled(
    shares: Mapping[date, Share], check: ShareCheck, zone: ZoneInfo, settle_days: int, as_of: datetime
) -> Mapping[date, Share]:
    if not check.settled_only:
        return shares
    return {day: share for day, share in shares.items() if is_final(day, zone, settle_days, as_of)}


def _observe(
    connection: Connection, result: RolledUp, source: str | None, inputs: Sequence[str]
) -> list[ObservedSource]:
    def estimated(name: str) -> int:
        return int(connection.execute(_ESTIMATE, {"name": name}).scalar() or 0)

    observed = [ObservedSource("businesses", estimated("businesses"))] if "businesses" in inputs else []
    if source:
        newest: list[Any] = [d.newest_event_at for d in result.days.values() if d.newest_event_at]
        rows = sum(d.events_read or 0 for d in result.days.values())
        observed.append(ObservedSource(source, estimated(source), rows, max(newest, default=None)))
    return observed
