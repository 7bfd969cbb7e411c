"""One measurement: where it runs, what it knows, and the one pass over the messages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any, Self
from zoneinfo import ZoneInfo

import ibis
import ibis.expr.types as ir
from sqlalchemy import Connection, TextClause, text

from smarttext_pipelines.alerting.metrics.alert_metric import LONGEST_SHORT_WINDOW
from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.alerting.rules.rule_tables import minutes_of
from smarttext_pipelines.alerting.rules.span import with_scopes
from smarttext_pipelines.core.days import DayRange, day_of
from smarttext_pipelines.engines import PostgresEngine
from smarttext_pipelines.metrics.metric import REPLY_MINUTES, RecentWindow
from smarttext_pipelines.metrics.windowed import Expression, Tables, remembered
from smarttext_pipelines.settings import Settings

_HAS_OUTCOMES = text(
    """
    SELECT EXISTS (SELECT FROM monitoring.sms_outcomes
                   WHERE day BETWEEN :today - 7 AND :today AND status = ANY (:reported) AND message_count > 0)
        OR EXISTS (SELECT FROM alert_messages WHERE status = ANY (:reported))
    """
)
BuildRecent = Callable[[Tables, RecentWindow], Expression]
Count = Callable[[Tables, RecentWindow], ir.Table]

_REPORTED = ("delivered", "read", "undelivered", "partially_delivered")
"""Statuses that only a delivery report brings; a failed one can be refused at creation."""


@dataclass(frozen=True)
class Place:
    """What a measurement needs to know besides the rules.

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
def read_text(name: str) -> str:
    """Return the text of a statement of ``alerting/metrics/sql``."""
    path = files("smarttext_pipelines.alerting.metrics").joinpath("sql", f"{name}.sql")
    return with_scopes(path.read_text(encoding="utf-8"))


@cache
def read_sql(name: str) -> TextClause:
    """Return a statement of ``alerting/metrics/sql``."""
    return text(read_text(name))


@dataclass(frozen=True)
class Now:
    """One measurement: where it runs, and when.

    Attributes:
        engine: In the caller's transaction.
        connection: Of that transaction.
        place: Zone and the like.
        at: End of the windows.
        facts_are_fresh: Whether windows of days can be answered from the daily facts.
        other_tables: Read in place of the engine's.
        masked_senders: Where numbers are masked, those of the sender that is asked for; None where they are not.
    """

    engine: PostgresEngine
    connection: Connection
    place: Place
    at: datetime
    facts_are_fresh: bool
    other_tables: Mapping[str, ir.Table] | None = None
    masked_senders: Sequence[str] | None = None

    @property
    def tables(self) -> Mapping[str, ir.Table]:
        """What expressions read."""
        return self.engine.tables if self.other_tables is None else self.other_tables

    @property
    def today(self) -> date:
        """Reporting day of the end of the windows."""
        return day_of(self.at, self.place.zone)

    def windows(self, rules: Sequence[Rule]) -> tuple[list[int], list[int]]:
        """Return the short windows of rules and those of whole days, in minutes; no day where the facts are old."""
        windows = {window for rule in rules for window in rule.windows if window > timedelta(0)}
        short = sorted(minutes_of(w) for w in windows if w <= LONGEST_SHORT_WINDOW)
        long = sorted(minutes_of(w) for w in windows if w > LONGEST_SHORT_WINDOW)
        return short, long if self.facts_are_fresh else []

    def window(self, length: timedelta) -> RecentWindow:
        """Return the window of that length that ends now."""
        return recent_window(self.place, self.at, length)

    def over(self, tables: Mapping[str, ir.Table]) -> "Now":
        """Return the same measurement over other tables."""
        return replace(self, other_tables=tables)

    def stage(self, build: BuildRecent, into: str, length: timedelta = LONGEST_SHORT_WINDOW) -> None:
        """Put what is built over the window of that length into a temporary table."""
        # As in a rollup: where the statistics lag behind the rows, nested loops take minutes for a second's work.
        self.connection.exec_driver_sql("SET LOCAL enable_nestloop = off")
        self.engine.stage(build(self.tables, self.window(length)), into)
        self.connection.exec_driver_sql("SET LOCAL enable_nestloop = on")

    def stage_each(self, count: Count, minutes: Sequence[int], into: str) -> None:
        """Put what is counted over each of some windows, with their ``minutes``, into a temporary table."""
        self.stage(_over_each(count, tuple(minutes)), into)

    def run(self, statement: str, values: Mapping[str, Any]) -> None:
        """Run a statement of ``alerting/metrics/sql``."""
        self.connection.execute(read_sql(statement), values)


@cache
def _over_each(count: Count, minutes: tuple[int, ...]) -> BuildRecent:
    def build(tables: Tables, window: RecentWindow) -> ir.Table:
        parts = [
            count(tables, replace(window, length=timedelta(minutes=each))).mutate(
                minutes=ibis.literal(each, type="int32")
            )
            for each in minutes
        ]
        return ibis.union(*parts) if len(parts) > 1 else parts[0]

    return remembered(build)


def has_outcomes(now: Now) -> bool:
    """Whether delivery reports come in; after the messages were measured."""
    values = {"today": now.today, "reported": list(_REPORTED)}
    return bool(now.connection.execute(_HAS_OUTCOMES, values).scalar())
