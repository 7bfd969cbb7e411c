"""The days around an anomaly, as they were counted."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.anomalies.in_words import Episode
from smarttext_pipelines.anomalies.series_kinds import SERIES_KINDS, SeriesKind
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.database.rolled_up_days import complete_days

DAYS_BEFORE, DAYS_AFTER = 21, 3


@dataclass(frozen=True)
class CountedDay:
    """A day of a series; None where the day was not rolled up after its end.

    Attributes:
        day: Reporting day.
        weekday: Its name.
        found: What was counted.
        whole: What it is out of; None for a count, too.
        remark: ``unusual`` on the days of the episode, else None.
    """

    day: date
    weekday: str
    found: Decimal | None
    whole: Decimal | None
    remark: str | None


def _statement(kind: SeriesKind) -> str:
    return f"""
        SELECT date, {_sum(kind.part)} AS found, {_sum(" + ".join(kind.whole) or "NULL::integer")} AS whole
        FROM public.daily_stats
        WHERE date BETWEEN :first AND :last AND (CAST(:business AS uuid) IS NULL OR business_id = :business)
        GROUP BY date
    """  # noqa: S608 - columns of a registry


def _sum(counted: str) -> str:
    """Return a sum that is unknown where any of it is."""
    return f"CASE WHEN count(*) = count({counted}) THEN CAST(sum({counted}) AS numeric) END"


def days_around(connection: Connection, episode: Episode, zone: ZoneInfo) -> list[CountedDay]:
    """Return the three weeks before an episode, its days, and three after it.

    Args:
        connection: In a transaction.
        episode: The anomaly.
        zone: Reporting zone.
    """
    days = DayRange(episode.first_day - timedelta(days=DAYS_BEFORE), episode.last_day + timedelta(days=DAYS_AFTER))
    values = {"first": days.first, "last": days.last, "business": episode.business_id}
    found = {row.date: row for row in connection.execute(text(_statement(SERIES_KINDS[episode.metric])), values)}
    complete = complete_days(connection, days, zone)
    return [
        CountedDay(
            day,
            f"{day:%a}",
            (found[day].found if day in found else Decimal(0)) if day in complete else None,
            found[day].whole if day in found and day in complete else None,
            "unusual" if episode.first_day <= day <= episode.last_day else None,
        )
        for day in days
    ]
