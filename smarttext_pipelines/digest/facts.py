"""What the digest tells, read from facts and stats; nothing is computed a second time from events."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.anomalies.episodes import episodes_of, searched_day
from smarttext_pipelines.anomalies.in_words import Episode
from smarttext_pipelines.budgets.month import MonthSpend, read_month
from smarttext_pipelines.core.days import DayRange, day_end, day_start
from smarttext_pipelines.customers.robocallers import LIMITS, Limits, RobocallsOfDays, read_robocalls
from smarttext_pipelines.database.rolled_up_days import complete_days
from smarttext_pipelines.digest.so_far import SoFar, read_so_far
from smarttext_pipelines.digest.totals import Totals, read_totals
from smarttext_pipelines.economics.lost import Lost, read_lost

WEEKS_COMPARED = 8
_ANOMALIES = 50
_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Unanswered:
    """A business with missed calls that got no text.

    Attributes:
        business: Name.
        unreplied: Callers without a text.
        missed: Missed calls.
        business_id: Id; None for what has no business.
        usual_unreplied: Callers without a text on the days compared with.
        usual_missed: Missed calls on those days.
    """

    business: str
    unreplied: int
    missed: int
    business_id: UUID | None = None
    usual_unreplied: int = 0
    usual_missed: int = 0


@dataclass(frozen=True)
class Incident:
    """An incident that was firing during the day; ``resolved_at`` is None where it was not over when it was read."""

    number: int
    rule: str
    severity: str
    whom: str
    fired_at: datetime
    resolved_at: datetime | None = None


@dataclass(frozen=True)
class Crossing:
    """The highest threshold that a budget reached on the day, and its use when that was seen."""

    business: str
    percent: Decimal
    business_id: UUID | None = None


@dataclass(frozen=True)
class Silent:
    """A business that has events on such weekdays and had none."""

    business: str
    business_id: UUID


@dataclass(frozen=True)
class Facts:
    """Everything a digest tells.

    Attributes:
        day: Day it is about.
        today: That day.
        usual: Equal weekdays before, those with incidents left out while enough others remain.
        zone: Reporting zone.
        reply_minutes: Minutes that count as in time.
        unanswered: Businesses with callers without a text, first those that lost most by it.
        month: The month up to the day.
        refused: Refusals of the guard by reason.
        incidents: Incidents that were firing during the day, the most severe first.
        crossings: Budgets that reached a threshold, the most used first.
        silent: Businesses that have events on such weekdays and had none.
        anomalies: What was unusual and nobody called wrong or expected, all businesses first.
        lost: What businesses with unanswered callers lost, the most first.
        robocalls: What likely robocallers did on the day.
        restated: Settled days whose numbers changed since the day ended.
        businesses: Businesses with a missed call.
        is_complete: Whether the day was rolled up after its end.
        is_over: Whether the day had ended when it was read.
        is_computed: Whether the day was rolled up at all.
        is_searched: Whether it was searched for anomalies.
        so_far: Events of a day that is not over, by hour; None where it is over, or they may not be counted.
    """

    day: date
    today: Totals
    usual: Sequence[Totals] = ()
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    reply_minutes: int = 5
    unanswered: Sequence[Unanswered] = ()
    month: MonthSpend = field(default_factory=lambda: MonthSpend(Decimal(0), 0, 0, None))
    refused: dict[str, int] = field(default_factory=dict)
    incidents: Sequence[Incident] = ()
    crossings: Sequence[Crossing] = ()
    silent: Sequence[Silent] = ()
    anomalies: Sequence[Episode] = ()
    lost: Sequence[Lost] = ()
    robocalls: RobocallsOfDays = field(default_factory=RobocallsOfDays)
    restated: Sequence[date] = ()
    businesses: int = 1
    is_complete: bool = True
    is_over: bool = True
    is_computed: bool = True
    is_searched: bool = True
    so_far: SoFar | None = None


_UNANSWERED = text(
    """
    SELECT coalesce(b.name, '(no business)') AS business, t.business_id, t.unreplied_count AS unreplied,
           t.replied_in_time_count + t.replied_late_count + t.unreplied_count + t.reply_unknown_count AS missed,
           coalesce(u.unreplied, 0) AS usual_unreplied, coalesce(u.missed, 0) AS usual_missed,
           count(*) OVER () AS businesses
    FROM monitoring.missed_call_replies AS t
    LEFT JOIN (
        SELECT business_id, sum(unreplied_count)::bigint AS unreplied,
               sum(replied_in_time_count + replied_late_count + unreplied_count + reply_unknown_count)::bigint AS missed
        FROM monitoring.missed_call_replies WHERE day = ANY (CAST(:usual AS date[])) GROUP BY business_id
    ) AS u ON u.business_id IS NOT DISTINCT FROM t.business_id
    LEFT JOIN monitoring.business_names AS b ON b.id = t.business_id
    WHERE t.day = :day ORDER BY unreplied DESC, business, t.business_id LIMIT 100
    """
)
_REFUSED = text(
    """
    SELECT reason, sum(refused_count)::bigint
    FROM (TABLE monitoring.openai_refusals
          UNION ALL SELECT day, business_key, reason, refused_count FROM monitoring.openai_refusals_new) AS r
    WHERE day = :day GROUP BY reason ORDER BY reason
    """
)
_INCIDENTS = text(
    """
    SELECT i.id AS number, i.rule, i.severity, i.fired_at, i.resolved_at,
           coalesce(b.name, CASE WHEN i.scope LIKE 'sender:%' THEN coalesce(
               -- The end of the number tells senders apart; whole numbers are masked in what leaves.
               (SELECT 'sender …' || right(max(n.message ->> 'sender'), 4) FROM monitoring.notifications AS n
                WHERE n.incident_id = i.id AND n.message ->> 'sender' <> ''), 'a sender') ELSE i.scope END) AS whom
    FROM monitoring.incidents AS i LEFT JOIN monitoring.business_names AS b ON b.id = i.business_id
    WHERE i.fired_at < :end AND (i.resolved_at IS NULL OR i.resolved_at >= :start)
    ORDER BY array_position(ARRAY['critical', 'warning', 'info'], i.severity), i.id LIMIT 50
    """
)
_CROSSINGS = text(
    """
    SELECT coalesce(b.name, '(no business)') AS business, c.business_id,
           max(round(100 * c.used / nullif(c.allowed, 0))) AS percent
    FROM monitoring.budget_crossings AS c LEFT JOIN monitoring.business_names AS b ON b.id = c.business_id
    WHERE c.day = :day AND c.allowed > 0 GROUP BY c.business_id, b.name ORDER BY percent DESC, business LIMIT 50
    """
)
_SILENT = text(
    """
    SELECT b.name AS business, b.id AS business_id
    FROM public.daily_stats AS s JOIN monitoring.business_names AS b ON b.id = s.business_id
    WHERE s.date = ANY (CAST(:usual AS date[]))
        AND s.calls_total + s.messages_received + s.messages_sent > 0
        AND NOT EXISTS (SELECT FROM public.daily_stats AS t WHERE t.business_id = s.business_id AND t.date = :day
                        AND t.calls_total + t.messages_received + t.messages_sent > 0)
    GROUP BY b.id, b.name HAVING count(*) >= :least ORDER BY b.name, b.id LIMIT 50
    """
)
_RESTATED = text(
    """
    SELECT DISTINCT date FROM public.daily_stats
    WHERE date < :settled AND date >= CAST(:settled AS date) - 400 AND updated_at >= :since
        -- What a new installation writes first was never told before.
        AND (SELECT installed_at FROM monitoring.installation) < :since
    ORDER BY date
    """
)
_WITH_INCIDENTS = text(
    """
    SELECT DISTINCT d.day FROM unnest(CAST(:days AS date[]), CAST(:starts AS timestamptz[]),
                                      CAST(:ends AS timestamptz[])) AS d (day, start_at, end_at)
    JOIN monitoring.incidents AS i ON i.fired_at < d.end_at AND (i.resolved_at IS NULL OR i.resolved_at >= d.start_at)
    WHERE i.severity <> 'info'
    """
)


def comparable_days(connection: Connection, day: date, zone: ZoneInfo) -> list[date]:
    """Return the equal weekdays before a day, those with incidents left out while three others remain."""
    days = [day - n * _WEEK for n in range(1, WEEKS_COMPARED + 1)]
    bounds = {"starts": [day_start(d, zone) for d in days], "ends": [day_end(d, zone) for d in days]}
    hit = set(connection.scalars(_WITH_INCIDENTS, {"days": days, **bounds}))
    known = read_totals(connection, days)
    calm = [d for d in days if d in known and d not in hit]
    return calm if len(calm) >= 3 else [d for d in days if d in known]


def read_refusals(connection: Connection, day: date) -> dict[str, int]:
    """Return how many requests the guard refused on a day, by reason."""
    return {row.reason: row[1] for row in connection.execute(_REFUSED, {"day": day})}


def read_facts(
    connection: Connection,
    day: date,
    *,
    zone: ZoneInfo,
    settle_days: int,
    reply_minutes: int,
    now: datetime,
    robocallers: Limits = LIMITS,
) -> Facts:
    """Return what is to be told of a day.

    Args:
        connection: A connection to the event database.
        day: The day.
        zone: Reporting zone.
        settle_days: Days after which a day no longer changes by itself.
        reply_minutes: Minutes that count as in time.
        now: Time of reading.
        robocallers: From where on a number is a likely robocaller.
    """
    usual = comparable_days(connection, day, zone)
    totals = read_totals(connection, [*usual, day])
    is_complete = bool(complete_days(connection, DayRange(day, day), zone))
    of_day = {"day": day, "usual": usual, "start": day_start(day, zone), "end": day_end(day, zone)}
    unanswered = list(connection.execute(_UNANSWERED, of_day).mappings())
    lost = read_lost(connection, [day])
    rank = {each.business_id: place for place, each in enumerate(lost)}
    unanswered.sort(key=lambda row: rank.get(row["business_id"], len(rank)))
    # A rollup of last night makes days final; only later changes restate them.
    restated = {"settled": day - timedelta(days=settle_days + 1), "since": day_end(day, zone)}
    least = max(2, len(usual) - 1)
    is_over = now >= day_end(day, zone)
    return Facts(
        day=day,
        today=totals.get(day, Totals()),
        usual=[totals[other] for other in usual],
        zone=zone,
        reply_minutes=reply_minutes,
        unanswered=[
            Unanswered(**{name: row[name] for name in row if name != "businesses"})
            for row in unanswered
            if row["unreplied"]
        ],
        month=read_month(connection, day, is_over=is_complete),
        refused=read_refusals(connection, day),
        incidents=[Incident(**row) for row in connection.execute(_INCIDENTS, of_day).mappings()],
        crossings=[Crossing(**row) for row in connection.execute(_CROSSINGS, of_day).mappings()],
        silent=[Silent(**row) for row in connection.execute(_SILENT, {**of_day, "least": least}).mappings()],
        anomalies=[each for each in episodes_of(connection, day, limit=_ANOMALIES) if each.verdict in (None, "right")],
        lost=lost,
        robocalls=read_robocalls(connection, DayRange(day, day), robocallers, zone),
        restated=list(connection.scalars(_RESTATED, restated)),
        businesses=unanswered[0]["businesses"] if unanswered else 1,
        is_complete=is_complete,
        is_over=is_over,
        is_computed=day in totals,
        is_searched=searched_day(connection, day) == day,
        so_far=None if is_over else read_so_far(connection, day, usual, zone, now),
    )
