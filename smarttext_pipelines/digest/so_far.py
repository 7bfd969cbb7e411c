"""A day that is not over beside the same hours of equal weekdays: what was recorded, by hour of the clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import day_start
from smarttext_pipelines.digest.usual import Usual, usual_of

MIN_EVENTS = 20
"""Events below which hours are not busy: fewer, or none, may be chance."""


@dataclass(frozen=True)
class SoFar:
    """Events by hour of a day that is not over, and of the same hours of other days.

    Attributes:
        until: Time of the clock up to which they were counted, on each of the days.
        hours: Events of the day by hour.
        others: The same of equal weekdays before.
    """

    until: time
    hours: Mapping[int, int] = field(default_factory=dict)
    others: Sequence[Mapping[int, int]] = ()

    @property
    def events(self) -> int:
        """Events of the day so far."""
        return sum(self.hours.values())

    def usual_from(self, hour: int) -> Usual | None:
        """Return what is usual from an hour on; None where too few days say it, or those hours are not busy."""
        counts = [sum(count for at, count in other.items() if at >= hour) for other in self.others]
        found = usual_of(map(Decimal, counts))
        return found if found and min(counts) and found.median >= MIN_EVENTS else None

    @property
    def silent_from(self) -> int | None:
        """The hour since which nothing was recorded, if those hours are usually busy."""
        hour = max((at + 1 for at, count in self.hours.items() if count), default=0)
        return hour if self.usual_from(hour) else None

    @property
    def is_quiet(self) -> bool:
        """Whether there was less than half of what there usually is by then."""
        found = self.usual_from(0)
        return bool(found and self.events * 2 < found.median)


_MAY_READ = text(
    "SELECT bool_and(has_table_privilege('monitoring.' || t, 'SELECT')) "
    "FROM unnest(ARRAY['sms_events', 'call_events', 'archive_segments']) AS t"
)
# A range of the index of times for each day and table: what it costs are the rows of those hours, no table is scanned.
_HOURS = text(
    """
    SELECT d.day, h.hour, sum(h.events)::bigint AS events
    FROM unnest(CAST(:days AS date[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
        AS d (day, start_at, end_at)
    LEFT JOIN LATERAL (
        SELECT extract(hour FROM e.created_at AT TIME ZONE :zone)::int AS hour, count(*) AS events
        FROM monitoring.sms_events AS e WHERE e.created_at >= d.start_at AND e.created_at < d.end_at GROUP BY 1
        UNION ALL
        SELECT extract(hour FROM e.ts AT TIME ZONE :zone)::int, count(*)
        FROM monitoring.call_events AS e WHERE e.ts >= d.start_at AND e.ts < d.end_at GROUP BY 1
    ) AS h ON true
    -- Of a day in files, not all rows are here.
    WHERE NOT EXISTS (
        SELECT FROM monitoring.archive_segments AS a
        WHERE a.table_name IN ('sms_events', 'call_events') AND a.state = 'deleted'
            AND a.day BETWEEN (d.start_at AT TIME ZONE 'UTC')::date AND (d.end_at AT TIME ZONE 'UTC')::date)
    GROUP BY d.day, h.hour
    """
)


def read_so_far(
    connection: Connection, day: date, others: Sequence[date], zone: ZoneInfo, now: datetime
) -> SoFar | None:
    """Return a day that is not over beside others; None where the role may not count events, or it has not begun.

    Args:
        connection: A connection to the event database.
        day: The day.
        others: Equal weekdays before.
        zone: Reporting zone.
        now: Time of reading.
    """
    start, until = day_start(day, zone), now.astimezone(zone).time()
    if now <= start or not connection.scalar(_MAY_READ):
        return None
    days = [day, *others]
    ends = [now, *(datetime.combine(each, until, zone).astimezone(UTC) for each in others)]
    values = {"days": days, "starts": [day_start(each, zone) for each in days], "ends": ends, "zone": zone.key}
    found: dict[date, dict[int, int]] = {}
    for row in connection.execute(_HOURS, values):
        found.setdefault(row.day, {}).update({} if row.hour is None else {row.hour: row.events})
    return SoFar(until, found.get(day, {}), [found[other] for other in others if other in found])
