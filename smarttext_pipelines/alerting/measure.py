"""Measuring: all metrics of all rules for all scopes, in one transaction.

The number of statements depends on the rules alone. What is returned is small: scopes that could be in breach, and
those with an open incident.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import ibis
import pyarrow as pa
from sqlalchemy import Connection, TextClause, text
from sqlalchemy.exc import DBAPIError

from smarttext_pipelines.core.days import DayRange, day_of, day_start
from smarttext_pipelines.core.failure_classes import OUTSIDE_THE_RATE, class_by_code
from smarttext_pipelines.core.rules import LONGEST_SHORT_WINDOW, Measured, Rule, limits_of
from smarttext_pipelines.core.scrub import scrub
from smarttext_pipelines.core.statuses import FINAL_STATUSES, STATUS_CLASS
from smarttext_pipelines.engines import Parameters, PostgresEngine
from smarttext_pipelines.engines.staging import copy_into_temporary_table
from smarttext_pipelines.metrics import owner_alerts
from smarttext_pipelines.metrics.base import RecentWindow
from smarttext_pipelines.metrics.messages import recent_attempts, status_name

Key = tuple[str, str]
"""A rule and a scope."""

MESSAGE_SIGNALS = {
    "sms_failure_rate", "sms_filtered_rate", "registration_errors", "account_errors", "unmapped_errors",
    "sms_in_flight_share", "unattributed_share",
}  # fmt: skip
_MONEY_SIGNALS = {"openai_budget", "openai_spend", "unpriced_share"}
_PIPELINE_SIGNALS = {"pipeline_failures", "failed_checks", "notifications_dead"}
_WEEKS = 4
_MEASURES = """
CREATE TEMPORARY TABLE alert_measures (
    signal text, kind text, scope text, business_id uuid, label text, minutes integer,
    part numeric, whole numeric, value numeric
) ON COMMIT DROP
"""
_HAS_OUTCOMES = text(
    """
    SELECT EXISTS (SELECT FROM monitoring.sms_outcomes
                   WHERE day BETWEEN :today - 7 AND :today AND status = ANY (:reported) AND message_count > 0)
        OR EXISTS (SELECT FROM alert_messages WHERE status = ANY (:reported))
    """
)
_FACTS_ARE_FRESH = text(
    """
    SELECT EXISTS (SELECT FROM monitoring.rollup_days
                   WHERE table_name = 'sms_events' AND row_day >= :today - 1 AND checked_at IS NOT NULL)
    """
)
_PRESENT = text("SELECT DISTINCT signal, kind FROM alert_measures")
_REPORTED = ("delivered", "read", "undelivered", "partially_delivered")
"""Statuses that only a delivery report brings; a failed one can be refused at creation."""


@dataclass(frozen=True)
class Place:
    """What a measurement needs to know beside the rules.

    Attributes:
        zone: Reporting zone.
        settle_days: Days in which earlier rows of a message are looked for.
        shared_senders: Numbers that send for several businesses.
    """

    zone: ZoneInfo
    settle_days: int
    shared_senders: Sequence[str] = ()


@dataclass(frozen=True)
class Row:
    """What was measured for a rule and a scope."""

    rule: str
    scope: str
    kind: str
    business_id: UUID | None
    label: str | None
    minutes: int
    measured: Measured


@dataclass
class Measurement:
    """What one measurement found.

    Attributes:
        rows: By rule and scope.
        present: Metrics and kinds of scope with any value.
        errors: Metrics that could not be measured, with the reason.
        has_outcomes: Whether delivery reports come in.
        is_fresh: Whether the daily facts are those of these days.
    """

    rows: dict[Key, Row] = field(default_factory=dict)
    present: set[tuple[str, str]] = field(default_factory=set)
    errors: dict[str, str] = field(default_factory=dict)
    has_outcomes: bool = False
    is_fresh: bool = True


@cache
def _sql(name: str) -> TextClause:
    return text(files("smarttext_pipelines.alerting").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8"))


def measure(
    connection: Connection, rules: Mapping[str, Rule], place: Place, *, now: datetime, open_keys: Collection[Key]
) -> Measurement:
    """Measure everything the rules watch, in the caller's transaction; its temporary tables end with that.

    Args:
        connection: In a transaction.
        rules: By name.
        place: Zone and the like.
        now: End of the windows.
        open_keys: Rules and scopes with an open incident.
    """
    found = Measurement()
    for setting in ("work_mem = '64MB'", "jit = off"):
        connection.exec_driver_sql(f"SET LOCAL {setting}")
    today = day_of(now, place.zone)
    window = RecentWindow(DayRange(today, today), place.zone, place.settle_days, now, LONGEST_SHORT_WINDOW)
    engine = PostgresEngine(connection, Parameters(window, place.shared_senders))
    _prepare(connection, rules, open_keys)
    found.is_fresh = bool(connection.execute(_FACTS_ARE_FRESH, {"today": today}).scalar())
    for signals, run in (
        (MESSAGE_SIGNALS, _messages),
        ({"owner_alerts_failed_rate"}, _owner_alerts),
        (_MONEY_SIGNALS, _money),
        ({"event_silence"}, _silence),
        (_PIPELINE_SIGNALS, _pipeline),
    ):
        wanted = [rule for rule in rules.values() if rule.metric in signals]
        if wanted:
            _guarded(
                found,
                connection,
                wanted,
                lambda run=run, wanted=wanted: run(engine, connection, wanted, place, now, found),
            )
    connection.exec_driver_sql("ANALYZE alert_measures")
    found.present = {(row.signal, row.kind) for row in connection.execute(_PRESENT)}
    for row in connection.execute(_sql("judged")).mappings():
        found.rows[row["rule"], row["scope"]] = _row(row)
    return found


def _guarded(found: Measurement, connection: Connection, wanted: list[Rule], run: Any) -> None:
    """Measure; a fault concerns these metrics alone."""
    savepoint = connection.begin_nested()
    try:
        run()
        savepoint.commit()
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        savepoint.rollback()
        said = getattr(getattr(error.orig, "diag", None), "message_primary", None) or type(error.orig).__name__
        found.errors |= {rule.metric: scrub(str(said)) for rule in wanted}


def _row(row: Mapping[Any, Any]) -> Row:
    critical = row["critical_threshold"]
    measured = Measured(
        part=float(row["part"]),
        whole=float(row["whole"]),
        value=float(row["value"]),
        is_enough=bool(row["is_enough"]),
        threshold=float(row["threshold"]),
        critical_threshold=None if critical is None else float(critical),
        clear_threshold=float(row["clear_threshold"]),
    )
    return Row(row["rule"], row["scope"], row["kind"], row["business_id"], row["label"], row["minutes"], measured)


def _prepare(connection: Connection, rules: Mapping[str, Rule], open_keys: Collection[Key]) -> None:
    """Put rules, what differs from them, open incidents and failure classes into temporary tables."""
    connection.exec_driver_sql(_MEASURES)
    copy_into_temporary_table(connection, "alert_rules", _rules_table(rules))
    copy_into_temporary_table(connection, "alert_overrides", _overrides_table(rules))
    connection.exec_driver_sql("ALTER TABLE alert_overrides ALTER business_id TYPE uuid USING business_id::uuid")
    pairs = sorted(open_keys)
    table = pa.table(
        {"rule": pa.array([r for r, _ in pairs], pa.string()), "scope": pa.array([s for _, s in pairs], pa.string())}
    )
    copy_into_temporary_table(connection, "alert_open", table)
    classes = class_by_code()
    copy_into_temporary_table(
        connection,
        "alert_failure_classes",
        pa.table(
            {"code": pa.array(list(classes), pa.string()), "class": pa.array(list(classes.values()), pa.string())}
        ),
    )


def _numbers(rows: list[dict[str, Any]], text_columns: Sequence[str]) -> pa.Table:
    limits = ("threshold", "critical_threshold", "clear_threshold")
    columns: dict[str, Any] = {name: pa.array([row[name] for row in rows], pa.string()) for name in text_columns}
    columns |= {name: pa.array([_decimal(row[name]) for row in rows], pa.decimal128(38, 6)) for name in limits}
    return pa.table({**columns, "min_count": pa.array([row["min_count"] for row in rows], pa.int64())})


def _decimal(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(str(value)).quantize(Decimal("0.000001"))


def _rules_table(rules: Mapping[str, Rule]) -> pa.Table:
    rows = [
        {
            "rule": rule.name,
            "signal": rule.metric,
            "kind": rule.scope,
            "threshold": rule.threshold,
            "critical_threshold": rule.critical_threshold,
            "clear_threshold": rule.clear_below,
            "min_count": rule.min_count,
            "minutes": minutes_of(window),
        }
        for rule in rules.values()
        for window in rule.windows
    ]
    table = _numbers(rows, ("rule", "signal", "kind"))
    return table.append_column("minutes", pa.array([row["minutes"] for row in rows], pa.int32()))


def _overrides_table(rules: Mapping[str, Rule]) -> pa.Table:
    rows = [
        {"rule": rule.name, "plan": plan, "business_id": business, **limits_of(rule, limits)}
        for rule in rules.values()
        for plan, business, limits in (
            *((plan, None, limits) for plan, limits in rule.plans.items()),
            *((None, str(business), limits) for business, limits in rule.businesses.items()),
        )
    ]
    return _numbers(rows, ("rule", "plan", "business_id"))


def minutes_of(window: timedelta) -> int:
    """Return a window in minutes."""
    return int(window.total_seconds() // 60)


def _split(rules: Sequence[Rule]) -> tuple[list[int], list[int]]:
    """Return the short and the long windows of rules, in minutes."""
    windows = {window for rule in rules for window in rule.windows}
    short = sorted(minutes_of(w) for w in windows if w <= LONGEST_SHORT_WINDOW)
    return short, sorted(minutes_of(w) for w in windows if w > LONGEST_SHORT_WINDOW)


def _messages(
    engine: PostgresEngine,
    connection: Connection,
    wanted: Sequence[Rule],
    place: Place,
    now: datetime,
    found: Measurement,
) -> None:
    short, long = _split(wanted)
    # As in a rollup: where the planner's statistics lag behind the rows, nested loops take minutes for a second's work.
    connection.exec_driver_sql("SET LOCAL enable_nestloop = off")
    stage_messages(engine, place, now, timedelta(minutes=max(short, default=5)))
    connection.exec_driver_sql("SET LOCAL enable_nestloop = on")
    connection.exec_driver_sql("ANALYZE alert_messages")
    today = day_of(now, place.zone)
    found.has_outcomes = bool(connection.execute(_HAS_OUTCOMES, {"today": today, "reported": list(_REPORTED)}).scalar())
    connection.execute(
        _sql("messages"),
        {
            "now": now,
            "today": today,
            "short": short,
            "long": long if found.is_fresh else [],
            "final": list(FINAL_STATUSES),
            "outside": list(OUTSIDE_THE_RATE),
        },
    )


def stage_messages(engine: PostgresEngine, place: Place, now: datetime, length: timedelta) -> None:
    """Put the messages attempted within the last time into the temporary table ``alert_messages``: the one pass."""
    today = day_of(now, place.zone)
    window = RecentWindow(DayRange(today, today), place.zone, place.settle_days, now, length)
    rows = recent_attempts(engine.tables, window)
    named = rows.mutate(status=status_name(rows.status_order))
    named = named.mutate(
        status_class=named.status.cases(*STATUS_CLASS.items()), is_final=named.status.isin(FINAL_STATUSES)
    )
    engine.stage(named.drop("status_order", "is_inbound", "is_report"), "alert_messages")


def _owner_alerts(
    engine: PostgresEngine,
    connection: Connection,
    wanted: Sequence[Rule],
    place: Place,
    now: datetime,
    found: Measurement,
) -> None:
    short, long = _split(wanted)
    today = day_of(now, place.zone)
    parts = [
        owner_alerts.rows(
            engine.tables,
            RecentWindow(DayRange(today, today), place.zone, place.settle_days, now, timedelta(minutes=minutes)),
        ).mutate(minutes=ibis.literal(minutes, type="int32"))
        for minutes in short or [5]
    ]
    engine.stage(ibis.union(*parts) if len(parts) > 1 else parts[0], "alert_owner_alerts")
    connection.execute(_sql("owner_alerts"), {"today": today, "long": long if found.is_fresh else []})


def _money(
    engine: PostgresEngine,
    connection: Connection,
    wanted: Sequence[Rule],
    place: Place,
    now: datetime,
    found: Measurement,
) -> None:
    connection.execute(_sql("money"), {"today": day_of(now, place.zone)})


def _silence(
    engine: PostgresEngine,
    connection: Connection,
    wanted: Sequence[Rule],
    place: Place,
    now: datetime,
    found: Measurement,
) -> None:
    for minutes in _split(wanted)[0]:
        ranges = [_weeks_before(now, week, minutes, place.zone) for week in range(_WEEKS + 1)]
        connection.execute(
            _sql("silence"),
            {
                "minutes": minutes,
                "weeks": list(range(_WEEKS + 1)),
                "starts": [start for start, _ in ranges],
                "ends": [end for _, end in ranges],
            },
        )


def _weeks_before(now: datetime, weeks: int, minutes: int, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the window so many weeks before, at the same time of the clock on the wall."""
    there = now.astimezone(zone)
    end = datetime.combine(there.date() - timedelta(weeks=weeks), there.time(), zone).astimezone(UTC) if weeks else now
    return end - timedelta(minutes=minutes), end


def _pipeline(
    engine: PostgresEngine,
    connection: Connection,
    wanted: Sequence[Rule],
    place: Place,
    now: datetime,
    found: Measurement,
) -> None:
    windows = sorted({minutes_of(window) for rule in wanted for window in rule.windows})
    own = [rule.name for rule in wanted if rule.metric == "notifications_dead"]
    connection.execute(_sql("pipeline"), {"now": now, "windows": windows, "own_rules": own})


def since_of(row: Row, now: datetime, zone: ZoneInfo) -> datetime:
    """Return the begin of the window that a row was measured over."""
    if timedelta(minutes=row.minutes) <= LONGEST_SHORT_WINDOW:
        return now - timedelta(minutes=row.minutes)
    first: date = day_of(now, zone) - timedelta(days=row.minutes // 1440 - 1)
    return day_start(first, zone)
