"""Measuring: all metrics of all rules for all scopes, in one transaction.

The number of statements depends on the rules alone. What is returned is small: scopes that could be in breach, and
those with an open incident.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from smarttext_pipelines.alerting.measuring.now import Now, Place, has_outcomes, read_sql, recent_window
from smarttext_pipelines.alerting.metrics import ALERT_METRICS
from smarttext_pipelines.alerting.metrics.alert_metric import LONGEST_SHORT_WINDOW
from smarttext_pipelines.alerting.rules.rule import Measured, Rule
from smarttext_pipelines.alerting.rules.rule_tables import Key, prepare_tables
from smarttext_pipelines.core.days import day_of, day_start
from smarttext_pipelines.core.redact import scrub
from smarttext_pipelines.engines import Parameters, PostgresEngine, add_repeated_keys
from smarttext_pipelines.metrics import replies

_FACTS_ARE_FRESH = text(
    """
    SELECT EXISTS (SELECT FROM monitoring.rollup_days
                   WHERE table_name = 'sms_events' AND row_day >= :today - 1 AND checked_at IS NOT NULL)
    """
)
_PRESENT = text("SELECT DISTINCT signal, kind FROM alert_measures")


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
    window = recent_window(place, now, LONGEST_SHORT_WINDOW)
    engine = PostgresEngine(connection, Parameters(window, place.shared_senders))
    prepare_tables(connection, rules, open_keys)
    found.is_fresh = bool(connection.execute(_FACTS_ARE_FRESH, {"today": window.days.first}).scalar())
    keyed = [rule for rule in rules.values() if rule.alert_metric.groups_by_key]
    _guarded(found, connection, keyed, lambda: add_repeated_keys(engine, [replies.repeated(engine.tables, window)]))
    here = Now(engine, connection, place, now, found.is_fresh)
    for run in dict.fromkeys(metric.measure for metric in ALERT_METRICS.values()):
        wanted = [rule for rule in rules.values() if rule.alert_metric.measure is run]
        if wanted and _guarded(found, connection, wanted, lambda run=run, wanted=wanted: run(here, wanted)):  # type: ignore[misc]
            found.has_outcomes |= any(rule.alert_metric.counts_messages for rule in wanted) and has_outcomes(here)
    connection.exec_driver_sql("ANALYZE alert_measures")
    found.present = {(row.signal, row.kind) for row in connection.execute(_PRESENT)}
    for row in connection.execute(read_sql("judged")).mappings():
        found.rows[row["rule"], row["scope"]] = _row(row)
    return found


def _guarded(found: Measurement, connection: Connection, wanted: list[Rule], run: Callable[[], object]) -> bool:
    """Measure, and return whether that went well; a fault concerns these metrics alone."""
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
        return False
    return True


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


def since_of(row: Row, now: datetime, zone: ZoneInfo) -> datetime:
    """Return the begin of the window that a row was measured over."""
    if timedelta(minutes=row.minutes) <= LONGEST_SHORT_WINDOW:
        return now - timedelta(minutes=row.minutes)
    first: date = day_of(now, zone) - timedelta(days=row.minutes // 1440 - 1)
    return day_start(first, zone)
