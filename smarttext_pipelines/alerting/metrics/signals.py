"""The metrics: each kind adds its values for all scopes and windows to the temporary table ``alert_measures``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Self
from zoneinfo import ZoneInfo

import ibis
import ibis.expr.types as ir
from sqlalchemy import Connection, TextClause, text

from smarttext_pipelines.alerting.rules.rule import LONGEST_SHORT_WINDOW, Rule
from smarttext_pipelines.alerting.rules.rule_tables import minutes_of
from smarttext_pipelines.core.days import DayRange, day_of, weeks_before
from smarttext_pipelines.core.failure_classes import OUTSIDE_THE_RATE
from smarttext_pipelines.core.statuses import FINAL_STATUSES, STATUS_CLASS
from smarttext_pipelines.engines import PostgresEngine
from smarttext_pipelines.metrics import owner_alerts, replies
from smarttext_pipelines.metrics.messages import attempts, status_name
from smarttext_pipelines.metrics.metric import REPLY_MINUTES, RecentWindow
from smarttext_pipelines.settings import Settings

MESSAGE_SIGNALS = {
    "sms_failure_rate", "sms_filtered_rate", "registration_errors", "account_errors", "unmapped_errors",
    "sms_in_flight_share", "unattributed_share",
}  # fmt: skip
_WEEKS = 4
_HAS_OUTCOMES = text(
    """
    SELECT EXISTS (SELECT FROM monitoring.sms_outcomes
                   WHERE day BETWEEN :today - 7 AND :today AND status = ANY (:reported) AND message_count > 0)
        OR EXISTS (SELECT FROM alert_messages WHERE status = ANY (:reported))
    """
)
_REPORTED = ("delivered", "read", "undelivered", "partially_delivered")
"""Statuses that only a delivery report brings; a failed one can be refused at creation."""


@dataclass(frozen=True)
class Place:
    """What a measurement needs to know beside the rules.

    Attributes:
        zone: Reporting zone.
        settle_days: Days in which earlier rows of a message are looked for.
        shared_senders: Numbers that send for several businesses.
        reply_minutes: Minutes within which a missed call should get a text.
    """

    zone: ZoneInfo
    settle_days: int
    shared_senders: Sequence[str] = ()
    reply_minutes: int = REPLY_MINUTES

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the settings say."""
        senders = [number.get_secret_value() for number in settings.shared_senders]
        return cls(settings.zone, settings.settle_days, senders, settings.reply_minutes)


def recent_window(place: Place, now: datetime, length: timedelta) -> RecentWindow:
    """Return the window of that length that ends now."""
    today = day_of(now, place.zone)
    return RecentWindow(
        DayRange(today, today), place.zone, place.settle_days, now, length, reply_minutes=place.reply_minutes
    )


@cache
def read_sql(name: str) -> TextClause:
    """Return a statement of ``alerting/metrics/sql``."""
    return text(
        files("smarttext_pipelines.alerting.metrics").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    )


def _split(rules: Sequence[Rule]) -> tuple[list[int], list[int]]:
    """Return the short and the long windows of rules, in minutes."""
    windows = {window for rule in rules for window in rule.windows}
    short = sorted(minutes_of(w) for w in windows if w <= LONGEST_SHORT_WINDOW)
    return short, sorted(minutes_of(w) for w in windows if w > LONGEST_SHORT_WINDOW)


@dataclass(frozen=True)
class Now:
    """One measurement: where it runs, and when.

    Attributes:
        engine: In the caller's transaction.
        connection: Of that transaction.
        place: Zone and the like.
        at: End of the windows.
        facts_are_fresh: Whether windows of days can be answered from the daily facts.
    """

    engine: PostgresEngine
    connection: Connection
    place: Place
    at: datetime
    facts_are_fresh: bool

    @property
    def today(self) -> date:
        """Reporting day of the end of the windows."""
        return day_of(self.at, self.place.zone)


def has_outcomes(now: Now) -> bool:
    """Whether delivery reports come in; after the messages were measured."""
    values = {"today": now.today, "reported": list(_REPORTED)}
    return bool(now.connection.execute(_HAS_OUTCOMES, values).scalar())


def _measure_messages(now: Now, rules: Sequence[Rule]) -> None:
    """Rates and shares of texts, after the one pass over them."""
    short, long = _split(rules)
    stage_messages(now, timedelta(minutes=max(short, default=5)))
    now.connection.exec_driver_sql("ANALYZE alert_messages")
    now.connection.execute(
        read_sql("messages"),
        {
            "now": now.at,
            "today": now.today,
            "short": short,
            "long": long if now.facts_are_fresh else [],
            "final": list(FINAL_STATUSES),
            "outside": list(OUTSIDE_THE_RATE),
        },
    )


def stage_messages(now: Now, length: timedelta) -> None:
    """Put the messages attempted within the last time into the temporary table ``alert_messages``: the one pass."""
    rows = attempts(now.engine.tables, recent_window(now.place, now.at, length))
    named = rows.mutate(status=status_name(rows.status_order))
    named = named.mutate(
        status_class=named.status.cases(*STATUS_CLASS.items()), is_final=named.status.isin(FINAL_STATUSES)
    )
    _stage(now, [named.drop("status_order", "is_inbound", "is_report")], "alert_messages")


def _stage(now: Now, parts: Sequence[ir.Table], into: str) -> None:
    # As in a rollup: where the planner's statistics lag behind the rows, nested loops take minutes for a second's work.
    now.connection.exec_driver_sql("SET LOCAL enable_nestloop = off")
    now.engine.stage(ibis.union(*parts) if len(parts) > 1 else parts[0], into)
    now.connection.exec_driver_sql("SET LOCAL enable_nestloop = on")


def _measure_owner_alerts(now: Now, rules: Sequence[Rule]) -> None:
    short, long = _split(rules)
    parts = [
        owner_alerts.rows(
            now.engine.tables,
            recent_window(now.place, now.at, timedelta(minutes=minutes)),
        ).mutate(minutes=ibis.literal(minutes, type="int32"))
        for minutes in short or [5]
    ]
    _stage(now, parts, "alert_owner_alerts")
    now.connection.execute(read_sql("owner_alerts"), {"today": now.today, "long": long if now.facts_are_fresh else []})


def _measure_missed_calls(now: Now, rules: Sequence[Rule]) -> None:
    short, long = _split(rules)
    parts = []
    for minutes in short or [60]:
        calls = replies.replied_calls(now.engine.tables, recent_window(now.place, now.at, timedelta(minutes=minutes)))
        counted = calls.group_by("business").agg(
            unreplied=calls.count(where=calls.state == "never"), missed=calls.count()
        )
        parts.append(counted.mutate(minutes=ibis.literal(minutes, type="int32")))
    _stage(now, parts, "alert_missed_calls")
    now.connection.execute(read_sql("missed_calls"), {"today": now.today, "long": long if now.facts_are_fresh else []})


def _measure_money(now: Now, rules: Sequence[Rule]) -> None:
    now.connection.execute(read_sql("money"), {"today": now.today})


def _measure_silence(now: Now, rules: Sequence[Rule]) -> None:
    for minutes in _split(rules)[0]:
        ends = [weeks_before(now.at, week, now.place.zone) for week in range(_WEEKS + 1)]
        now.connection.execute(
            read_sql("silence"),
            {
                "minutes": minutes,
                "weeks": list(range(_WEEKS + 1)),
                "starts": [end - timedelta(minutes=minutes) for end in ends],
                "ends": ends,
            },
        )


def _measure_pipeline(now: Now, rules: Sequence[Rule]) -> None:
    windows = sorted({minutes_of(window) for rule in rules for window in rule.windows})
    own = [rule.name for rule in rules if rule.metric == "notifications_dead"]
    now.connection.execute(read_sql("pipeline"), {"now": now.at, "windows": windows, "own_rules": own})


SIGNALS: tuple[tuple[set[str], Callable[[Now, Sequence[Rule]], None]], ...] = (
    (MESSAGE_SIGNALS, _measure_messages),
    ({"owner_alerts_failed_rate"}, _measure_owner_alerts),
    ({"missed_calls_unanswered"}, _measure_missed_calls),
    ({"openai_budget", "openai_spend", "unpriced_share"}, _measure_money),
    ({"event_silence"}, _measure_silence),
    ({"pipeline_failures", "failed_checks", "notifications_dead"}, _measure_pipeline),
)
"""Metrics, and what measures them."""
