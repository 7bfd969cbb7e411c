"""Measuring: all metrics of all rules for all scopes, in one transaction.

The number of statements depends on the rules alone. What is returned is small: scopes that could be in breach, and
those with an open incident.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from smarttext_pipelines.alerting.measuring.now import Now, Place, has_outcomes, read_sql, recent_window
from smarttext_pipelines.alerting.metrics import ALERT_METRICS
from smarttext_pipelines.alerting.metrics.alert_metric import LONGEST_SHORT_WINDOW
from smarttext_pipelines.alerting.rules.judge import Measured
from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.alerting.rules.rule_tables import Key, minutes_of, prepare_tables
from smarttext_pipelines.alerting.rules.span import LAST_TEXTS
from smarttext_pipelines.core.redact import scrub
from smarttext_pipelines.engines import Parameters, PostgresEngine, add_repeated_keys
from smarttext_pipelines.metrics import replies
from smarttext_pipelines.metrics.windowed import remembered

_FACTS_ARE_FRESH = text(
    """
    SELECT EXISTS (SELECT FROM monitoring.rollup_days
                   WHERE table_name = 'sms_events' AND row_day >= :today - 1 AND checked_at IS NOT NULL)
    """
)
_ERROR = text(
    """
    INSERT INTO alert_measures (signal, kind, scope, minutes, part, whole, value, label)
    VALUES ('rule_errors', 'pipeline', :scope, :minutes, :rules, :rules, :rules, :label)
    """
)
_ALIASED_COLUMN = re.compile(r"^column \w+\.(?=\w)")
_LONGEST = minutes_of(LONGEST_SHORT_WINDOW)
repeated = remembered(replies.repeated)
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
    start_at: datetime | None = None
    apart: UUID | None = None


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
    engine = open_engine(connection, place, now)
    prepare_tables(connection, rules, open_keys)
    window = recent_window(place, now, LONGEST_SHORT_WINDOW)
    found.is_fresh = bool(connection.execute(_FACTS_ARE_FRESH, {"today": window.days.first}).scalar())
    keyed = [rule for rule in rules.values() if rule.alert_metric.groups_by_key]
    _guarded(found, connection, keyed, lambda: add_repeated_keys(engine, [repeated(engine.tables, window)]))
    here = Now(engine, connection, place, now, found.is_fresh)
    for run in dict.fromkeys(metric.measure for metric in ALERT_METRICS.values()):
        wanted = [rule for rule in rules.values() if rule.alert_metric.measure is run]
        if wanted and _guarded(found, connection, wanted, lambda run=run, wanted=wanted: run(here, wanted)):  # type: ignore[misc]
            found.has_outcomes |= any(rule.alert_metric.counts_messages for rule in wanted) and has_outcomes(here)
    _add_errors(connection, found, rules)
    connection.exec_driver_sql("ANALYZE alert_measures")
    found.present = {(row.signal, row.kind) for row in connection.execute(_PRESENT)}
    values = {"now": now, "today": here.today, "zone": str(place.zone), "longest_short": _LONGEST}
    for row in connection.execute(read_sql("judged"), values).mappings():
        found.rows[row["rule"], row["scope"]] = _row(row, rules[row["rule"]])
    return found


def _add_errors(connection: Connection, found: Measurement, rules: Mapping[str, Rule]) -> None:
    """Add what could not be measured as values of ``rule_errors``: one scope for all rules with one cause."""
    watching = {minutes_of(rule.window) for rule in rules.values() if rule.metric == "rule_errors"}
    for cause in sorted(set(found.errors.values())):
        named = sorted(rule.name for rule in rules.values() if found.errors.get(rule.metric) == cause)
        scope = f"rules:{hashlib.sha256(cause.encode()).hexdigest()[:8]}"
        label = f"{cause} ({', '.join(named)})"
        for minutes in watching:
            connection.execute(_ERROR, {"scope": scope, "minutes": minutes, "rules": len(named), "label": label})


def open_engine(connection: Connection, place: Place, now: datetime) -> PostgresEngine:
    """Return the engine over the windows that end now."""
    return PostgresEngine(connection, Parameters(recent_window(place, now, LONGEST_SHORT_WINDOW), place.shared_senders))


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
        # Each statement has a name of its own for the table: the cause is the column.
        cause = scrub(_ALIASED_COLUMN.sub("column ", str(said)))
        found.errors |= {rule.metric: cause for rule in wanted}
        return False
    return True


def _row(row: Mapping[Any, Any], rule: Rule) -> Row:
    measured = Measured(
        part=float(row["part"]),
        whole=float(row["whole"]),
        value=float(row["value"]),
        is_enough=bool(row["is_enough"]),
        thresholds=rule.thresholds_for(row["business_id"], row["plan"]),
        first_at=row["first_at"],
        last_at=row["last_at"],
        is_last=row["minutes"] == LAST_TEXTS,
        is_burst=bool(row["is_burst"]),
        good_after=int(row["good_after"]),
        is_stale=bool(row["is_stale"]),
    )
    return Row(
        row["rule"],
        row["scope"],
        row["kind"],
        row["business_id"],
        row["label"],
        row["minutes"],
        measured,
        row["start_at"],
        row["apart"],
    )
