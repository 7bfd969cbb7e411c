"""Roll up one metric for a range of days: one snapshot, one statement, one transaction, or nothing."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import AgreementError, SettingsError
from smarttext_pipelines.engines import Engine as MetricEngine
from smarttext_pipelines.engines import EngineChoice, Parameters, SourceDay, add_repeated_keys, read_source_days
from smarttext_pipelines.engines.postgres import PLANNER
from smarttext_pipelines.engines.spark_session import SparkPlace
from smarttext_pipelines.lake.lake_target import LakeTarget
from smarttext_pipelines.metrics import Metric, Window
from smarttext_pipelines.metrics.customer_days import KEY_BLOCKS
from smarttext_pipelines.metrics.metric import REPLY_MINUTES
from smarttext_pipelines.rollup.day_locks import locked
from smarttext_pipelines.rollup.merge import (
    COMPUTED,
    DayTotals,
    largest_change,
    merge,
    stage_rows,
    totals_by_day,
)
from smarttext_pipelines.rollup.recorded_days import days_kept, facts_read_at
from smarttext_pipelines.schema.installation import counts_usage_by_time, require_zone
from smarttext_pipelines.schema.same_secret import use_secret
from smarttext_pipelines.schema.tables.internal import rollup_days
from smarttext_pipelines.schema.tables.lookup import table_named


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
    with locked(database, metric.name, days) as connection:
        for statement in PLANNER:
            connection.exec_driver_sql(statement)
        read_at = as_of or connection.execute(select(func.now())).scalar_one()
        require_zone(connection, zone)
        if secret is not None:
            use_secret(connection, secret)
        by_time = counts_usage_by_time(connection)
        window = Window(days, zone, settle_days, read_at, reply_minutes=reply_minutes, usage_by_time=by_time)
        facts_read = {} if metric.source else facts_read_at(connection, metric, window)
        # The secret goes to no other machine.
        spark = spark if secret is None else None
        choice = EngineChoice(connection, Parameters(window, shared_senders, facts_read, secret), archive, lake, spark)
        unready = set() if metric.source else set(window.days) - set(facts_read)
        with choice.engine_for(metric.inputs) as engine:
            return _write(choice, engine, metric, window, unready, allow_empty=allow_empty)


def _write(
    choice: EngineChoice,
    engine: MetricEngine,
    metric: Metric,
    window: Window,
    unready: Collection[date],
    *,
    allow_empty: bool,
) -> RolledUp:
    connection, target = choice.connection, table_named(metric.name)
    of_sources = {source: read_source_days(engine, source, window) for source in metric.sources}
    events = _together(of_sources.values())
    kept = set() if allow_empty else days_kept(choice, metric, window, of_sources)
    kept |= set(unready)
    written = [day for day in window.days if day not in kept]
    repeated = add_repeated_keys(engine, [metric.repeated(engine.tables, window)] if metric.repeated else [])
    sql = engine.stage(metric.rows(engine.tables, window), COMPUTED)
    stage = stage_rows(connection, metric, target, window.days, written)
    after = totals_by_day(connection, stage, metric.day, written)
    _require_agreement(metric, after, _source_totals(engine, metric, window), written)
    before = totals_by_day(connection, target, metric.day, list(window.days))
    changed = merge(connection, metric, target, stage, written)
    _record(connection, metric, window, kept, events, after)
    results = {}
    for day in window.days:
        old, new = before.get(day, {}), before.get(day, {}) if day in kept else after.get(day, {})
        results[day] = DayResult(
            rows=int(new.get("rows", 0)),
            events_read=events.get(day, SourceDay()).rows if metric.source else None,
            newest_event_at=events.get(day, SourceDay()).newest_event_at,
            rows_changed=changed[day],
            largest_change=largest_change(old, new),
            totals=new,
            is_kept=day in kept,
        )
    return RolledUp(metric.name, results, sql, window.as_of, engine.name, repeated, choice.notes)


def _together(of_sources: Iterable[Mapping[date, SourceDay]]) -> dict[date, SourceDay]:
    found: dict[date, SourceDay] = {}
    for days in of_sources:
        for day, read in days.items():
            known = found.get(day, SourceDay())
            times = [at for at in (known.newest_event_at, read.newest_event_at) if at]
            found[day] = SourceDay(known.rows + read.rows, max(times, default=None))
    return found


def _source_totals(engine: MetricEngine, metric: Metric, window: Window) -> DayTotals:
    rows = engine.fetch(metric.source_totals(engine.tables, window))
    return {row[metric.day]: {name: Decimal(row[name] or 0) for name in metric.totals} for row in rows}


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
