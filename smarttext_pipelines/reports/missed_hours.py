"""At which hours calls were missed, from the calls that the fact counts, and of which days that is not known.

A day is known where as many missed calls were found as the fact has: of an archived day fewer are left.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from smarttext_pipelines.metrics.metric import Build, Window
    from smarttext_pipelines.metrics.windowed import Tables
    from smarttext_pipelines.reports.month_facts import Month

_SLOT_MINUTES = 15
"""Hours of every zone begin at a multiple of that."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Hours = Mapping[date, Mapping[int, int]]
"""Day → hour of the reporting zone → missed calls."""


@dataclass(frozen=True)
class MissedHours:
    """Missed calls by weekday and hour.

    Attributes:
        counts: By weekday, Monday is 0, and hour, of the days that are known.
        archived: Days of which fewer calls are left than were counted.
        changed: Days of which there are more calls than were counted.
        weekdays: Weekdays of which the hours of a day are known.
    """

    counts: Mapping[tuple[int, int], int] = field(default_factory=dict)
    archived: Sequence[date] = ()
    changed: Sequence[date] = ()
    weekdays: Set[int] = frozenset()

    @classmethod
    def agreeing(cls, found: Hours, counted: Mapping[date, int]) -> "MissedHours":
        """Return the hours of the days on which as many missed calls were found as were counted.

        Args:
            found: What is left of the calls.
            counted: Missed calls of each day that was rolled up.
        """
        counts: Counter[tuple[int, int]] = Counter()
        archived: list[date] = []
        changed: list[date] = []
        weekdays: set[int] = set()
        for day, missed in counted.items():
            hours = found.get(day, {})
            left = sum(hours.values())
            if left != missed:
                (archived if left < missed else changed).append(day)
                continue
            weekdays.add(day.weekday())
            counts.update({(day.weekday(), hour): count for hour, count in hours.items()})
        return cls(counts, archived, changed, weekdays)


def missed_hours(connection: Connection, month: "Month", business: UUID) -> Hours:
    """Return the missed calls of one business, found by index; numbers stay masked."""
    from smarttext_pipelines.explain.near import Kind, NearEngine, Wanted
    from smarttext_pipelines.metrics import call_volume

    window = _window(month)
    engine = NearEngine(connection, Wanted(Kind.business, window, business, shared_senders=month.shared_senders))
    engine.add_repeated([lambda: call_volume.repeated(engine.tables, window)])
    found = by_business(engine.fetch(_missed_by_slot()(engine.tables, window)), month.zone)
    return found.get(business, {})


def all_missed_hours(connection: Connection, month: "Month") -> Mapping[UUID, Hours]:
    """Return the missed calls of every business, by one statement; it changes the planner of the transaction."""
    from smarttext_pipelines.engines import Parameters, PostgresEngine, add_repeated_keys
    from smarttext_pipelines.engines.postgres import PLANNER
    from smarttext_pipelines.metrics import call_volume

    for statement in PLANNER:
        connection.exec_driver_sql(statement)
    window = _window(month)
    engine = PostgresEngine(connection, Parameters(window, month.shared_senders))
    add_repeated_keys(engine, [call_volume.repeated(engine.tables, window)])
    return by_business(engine.fetch(_missed_by_slot()(engine.tables, window)), month.zone)


def by_business(rows: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> dict[UUID, dict[date, Counter[int]]]:
    """Return rows of ``business_id``, ``day``, ``slot`` (quarters of an hour since 1970) and ``missed`` by the hour."""
    found: dict[UUID, dict[date, Counter[int]]] = {}
    for row in rows:
        at = datetime.fromtimestamp(row["slot"] * _SLOT_MINUTES * 60, UTC).astimezone(zone)
        days = found.setdefault(UUID(str(row["business_id"])), {})
        days.setdefault(row["day"], Counter())[at.hour] += row["missed"]
    return found


def _window(month: "Month") -> Any:
    from smarttext_pipelines.metrics import Window

    return Window(month.days, month.zone, month.settle_days, month.now, reply_minutes=month.reply_minutes)


@cache
def _missed_by_slot() -> "Build":
    import ibis

    from smarttext_pipelines.metrics import call_volume
    from smarttext_pipelines.metrics.metric import elapsed_ms
    from smarttext_pipelines.metrics.windowed import remembered

    def build(tables: "Tables", window: "Window") -> "ir.Table":
        calls = call_volume.calls(tables, window)
        calls = calls.filter(calls.is_missed, calls.business_id.notnull())
        slot = elapsed_ms(calls.first_at, ibis.literal(_EPOCH)) // (_SLOT_MINUTES * 60_000)
        found = calls.select("business_id", "day", slot=slot.cast("int64"))
        return found.group_by("business_id", "day", "slot").agg(missed=found.count())

    return remembered(build)
