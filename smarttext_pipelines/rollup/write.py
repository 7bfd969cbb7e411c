"""Roll up one metric for a range of days: one snapshot, one statement, one transaction, or nothing."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine
from sqlalchemy.dialects.postgresql import insert

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import AgreementError, DatabaseError, EngineError, SchemaError, SettingsError
from smarttext_pipelines.engines import SourceDay
from smarttext_pipelines.engines.spark_session import SparkPlace
from smarttext_pipelines.lake.lake_target import LakeTarget
from smarttext_pipelines.metrics import Metric, Window
from smarttext_pipelines.metrics.customer_days import KEY_BLOCKS
from smarttext_pipelines.metrics.metric import REPLY_MINUTES
from smarttext_pipelines.rollup.compute import Computed, compute
from smarttext_pipelines.rollup.day_locks import locked
from smarttext_pipelines.rollup.merge import (
    DayTotals,
    largest_change,
    merge,
    stage_rows,
    totals_by_day,
)
from smarttext_pipelines.rollup.recorded_days import facts_read_at
from smarttext_pipelines.rollup.shared_read import SharedRead, versions
from smarttext_pipelines.rollup.terms import Terms
from smarttext_pipelines.schema.same_secret import use_secret
from smarttext_pipelines.schema.tables.internal import rollup_days
from smarttext_pipelines.schema.tables.lookup import table_named

_log = logging.getLogger("smarttext_pipelines.rollup")


@dataclass(frozen=True)
class DayResult:
    """What a rollup did to one day.

    Attributes:
        rows: Rows of the table now.
        events_read: Rows of the source on the day; for stats, rows read from the facts are not counted (None).
        newest_event_at: Newest time among those events.
        rows_changed: Rows inserted, updated or deleted.
        largest_change: The measure that moved most, as ``name 120 → 150``.
        totals: Sum of every measure.
        is_kept: Whether the day is frozen: its events are no longer all there, or a fact is not computed.
    """

    rows: int
    events_read: int | None
    newest_event_at: datetime | None
    rows_changed: int
    largest_change: str | None
    totals: Mapping[str, Decimal] = field(default_factory=dict)
    is_kept: bool = False


@dataclass(frozen=True)
class RolledUp:
    """Result of one rollup of one metric.

    Attributes:
        metric: Name of the metric.
        days: What was done, by day.
        sql: The statement that computed it.
        as_of: Start of the reading transaction, by the database's clock.
        engine: Name of the engine that ran it.
        repeated: How many keys of the metric's own rows identify nothing, by day.
        notes: Why Spark was not used where it was wanted.
    """

    metric: str
    days: Mapping[date, DayResult]
    sql: str
    as_of: datetime
    engine: str
    repeated: Mapping[date, int] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def kept(self) -> list[date]:
        """Frozen days."""
        return [day for day, result in self.days.items() if result.is_kept]


def roll_up(
    database: Engine,
    metric: Metric,
    days: DayRange,
    *,
    zone: ZoneInfo,
    settle_days: int,
    shared_senders: Sequence[str] = (),
    allow_empty: bool = False,
    as_of: datetime | None = None,
    reply_minutes: int = REPLY_MINUTES,
    archive: ArchiveTarget | None = None,
    lake: LakeTarget | None = None,
    spark: SparkPlace | None = None,
    customer_secret: bytes | None = None,
    shared: SharedRead | None = None,
) -> RolledUp:
    """Compute a metric for a range of days and merge it into its table.

    Args:
        database: Result of ``open_engine``.
        metric: What to compute.
        days: Which days; none of them is later than today.
        zone: Reporting zone; must be that of the database.
        settle_days: Days around a day in which rows of its messages and calls are looked for.
        shared_senders: Numbers that identify no business.
        allow_empty: Write what is there even where events have gone since the last rollup.
        as_of: Time of reading; default is the start of the transaction by the database's clock.
        reply_minutes: Minutes within which a missed call should get a text.
        archive: Where archived events are stored.
        lake: Where the lake is, from which a range may be read that it holds most of.
        spark: Where Spark is, for windows of many rows.
        customer_secret: Secret of the keys of customers, which a metric with ``customer_key`` needs.
        shared: Where the facts of a run are read in one snapshot; a fact that cannot be is read alone.

    Raises:
        ArchiveError: Events of the days are archived, and their file is missing or damaged; nothing was written.
        AgreementError: The result contradicts its sources; nothing was written.
        SettingsError: The database reports in another zone, or the secret is missing or another than before.
        DatabaseError: The database cannot be used; nothing was written.
    """
    if KEY_BLOCKS in metric.inputs and not customer_secret:
        msg = f"{metric.name} needs the secret of the customers' keys; set SMARTTEXT_CUSTOMER_KEY"
        raise SettingsError(msg)
    secret = customer_secret if KEY_BLOCKS in metric.inputs else None
    terms = Terms(days, zone, settle_days, shared_senders, as_of, reply_minutes, archive, lake, spark, secret)
    if shared is not None and shared.serves(metric, terms):
        try:
            return _roll_up_shared(database, metric, terms, shared, allow_empty=allow_empty)
        except DatabaseError as error:
            if isinstance(error, SchemaError | EngineError):
                raise
            _log.info("%s of %s is computed alone: %s", metric.name, days, error)
    return _roll_up_alone(database, metric, terms, allow_empty=allow_empty)


def _roll_up_alone(database: Engine, metric: Metric, terms: Terms, *, allow_empty: bool) -> RolledUp:
    with locked(database, metric.name, terms.days) as connection:
        window = terms.begin(connection)
        if terms.secret is not None:
            use_secret(connection, terms.secret)
        facts_read = {} if metric.source else facts_read_at(connection, metric, window)
        choice = terms.engines(connection, window, facts_read, terms.secret)
        unready = set() if metric.source else set(window.days) - set(facts_read)
        with choice.engine_for(metric.inputs) as engine:
            found = compute(choice, engine, metric, unready, allow_empty=allow_empty)
        return _merge_computed(connection, metric, found)


def _roll_up_shared(
    database: Engine, metric: Metric, terms: Terms, shared: SharedRead, *, allow_empty: bool
) -> RolledUp:
    """Write what is computed in the snapshot of the other facts of a run; any error ends that."""
    try:
        with locked(database, metric.name, terms.days) as connection:
            if terms.secret is not None:
                use_secret(connection, terms.secret)
            found = shared.compute(connection, metric, terms, allow_empty=allow_empty)
            result = _merge_computed(connection, metric, found)
            recorded = versions(connection, terms)
    except BaseException:
        shared.close()
        raise
    shared.wrote(metric, recorded)
    return result


def _merge_computed(connection: Connection, metric: Metric, found: Computed) -> RolledUp:
    """Make the table equal to what was computed, which stands in the transaction's ``COMPUTED``, and record it.

    Raises:
        AgreementError: The result contradicts its sources.
    """
    target, window = table_named(metric.name), found.window
    written = [day for day in window.days if day not in found.kept]
    stage = stage_rows(connection, metric, target, window.days, written)
    after = totals_by_day(connection, stage, metric.day, written)
    _require_agreement(metric, after, found.source_totals, written)
    before = totals_by_day(connection, target, metric.day, list(window.days))
    changed = merge(connection, metric, target, stage, written)
    _record(connection, metric, window, found.kept, found.events, after)
    results = {}
    for day in window.days:
        is_kept = day in found.kept
        old, new = before.get(day, {}), before.get(day, {}) if is_kept else after.get(day, {})
        read = found.events.get(day, SourceDay())
        results[day] = DayResult(
            rows=int(new.get("rows", 0)),
            events_read=read.rows if metric.source else None,
            newest_event_at=read.newest_event_at,
            rows_changed=changed[day],
            largest_change=largest_change(old, new),
            totals=new,
            is_kept=is_kept,
        )
    return RolledUp(metric.name, results, found.sql, window.as_of, found.engine, found.repeated, found.notes)


def _require_agreement(metric: Metric, result: DayTotals, source: DayTotals, days: Collection[date]) -> None:
    for day in days:
        for name, measures in metric.totals.items():
            expected = source.get(day, {}).get(name, Decimal(0))
            summed = sum((result.get(day, {}).get(measure, Decimal(0)) for measure in measures), Decimal(0))
            if expected != summed:
                message = f"{metric.name} of {day}: {name} is {expected} in the sources and {summed} in the result"
                msg = f"{message}; nothing was written"
                raise AgreementError(msg)


def _record(
    connection: Connection,
    metric: Metric,
    window: Window,
    kept: Collection[date],
    events: Mapping[date, SourceDay],
    after: DayTotals,
) -> None:
    """Record what was read: rows of the source for a fact, rows written for stats; kept days keep their count."""

    def counted(day: date) -> SourceDay:
        return events.get(day, SourceDay()) if metric.source else SourceDay(int(after.get(day, {}).get("rows", 0)))

    rows = [
        {
            "table_name": metric.recorded_as,
            "row_day": day,
            "rows": 0 if day in kept else counted(day).rows,
            "newest_event_at": None if day in kept else counted(day).newest_event_at,
            "rolled_up_at": None if day in kept else window.as_of,
            "checked_at": window.as_of,
        }
        for day in window.days
    ]
    new = insert(rollup_days)
    for part, renewed in (
        ([row for row in rows if row["row_day"] in kept], ("checked_at",)),
        (
            [row for row in rows if row["row_day"] not in kept],
            ("rows", "newest_event_at", "rolled_up_at", "checked_at"),
        ),
    ):
        if part:
            update = {name: new.excluded[name] for name in renewed}
            connection.execute(new.on_conflict_do_update(index_elements=["table_name", "row_day"], set_=update), part)
