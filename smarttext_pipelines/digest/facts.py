"""What the digest tells, read from facts and stats; nothing is computed a second time from events."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.budgets.month import MonthSpend, read_month
from smarttext_pipelines.core.days import DayRange, day_end
from smarttext_pipelines.core.statuses import FINAL_STATUSES
from smarttext_pipelines.database.rolled_up_days import complete_days

WEEKS_COMPARED = 4
_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class DayFacts:
    """One day of all businesses; None where nothing was computed.

    Attributes:
        missed: Missed calls; None when their replies were not computed.
        in_time: Of these, answered in time.
        late: Answered later.
        unreplied: Not answered.
        reply_unknown: Not known.
        attempted: Texts attempted, suppressed ones left out.
        final: Of these, with a final outcome.
        decided: Successful or failed.
        failed: Failed.
        cost_usd: Recorded cost of all services.
    """

    missed: int | None = None
    in_time: int = 0
    late: int = 0
    unreplied: int = 0
    reply_unknown: int = 0
    attempted: int = 0
    final: int = 0
    decided: int = 0
    failed: int = 0
    cost_usd: Decimal | None = None


@dataclass(frozen=True)
class Unanswered:
    """A business with missed calls that got no text."""

    business: str
    unreplied: int
    missed: int


@dataclass(frozen=True)
class Facts:
    """Everything a digest tells.

    Attributes:
        day: Day it is about.
        today: That day.
        usual: The same weekday of the weeks before, where computed.
        reply_minutes: Minutes that count as in time.
        unanswered: The worst businesses first.
        openai_usd: Cost of OpenAI on the day.
        sms_usd: Cost of texts on the day; None while no price of the month is known.
        month: The month up to the day.
        refused: Refusals of the guard by reason.
        incidents: Open incidents: number, rule, severity, whom.
        silent: Businesses that have had events on that weekday and had none.
        restated: Settled days whose numbers changed since the day ended.
        is_complete: Whether the day was rolled up after its end.
        is_computed: Whether the day was rolled up at all.
    """

    day: date
    today: DayFacts
    usual: list[DayFacts] = field(default_factory=list)
    reply_minutes: int = 5
    unanswered: list[Unanswered] = field(default_factory=list)
    openai_usd: Decimal = Decimal(0)
    sms_usd: Decimal | None = None
    month: MonthSpend = field(default_factory=lambda: MonthSpend(Decimal(0), 0, 0, None))
    refused: dict[str, int] = field(default_factory=dict)
    incidents: list[tuple[int, str, str, str]] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    restated: list[date] = field(default_factory=list)
    is_complete: bool = True
    is_computed: bool = True


_DAYS = text(
    """
    SELECT d.day,
           -- The fact has rows for missed calls only: without one, there was none, if it was computed.
           CASE WHEN EXISTS (SELECT FROM monitoring.rollup_days AS c WHERE c.table_name = 'missed_call_replies'
                             AND c.row_day = d.day AND c.checked_at IS NOT NULL)
                THEN coalesce(r.missed, 0) ELSE r.missed END AS missed, r.in_time, r.late, r.unreplied, r.reply_unknown,
           coalesce(o.attempted, 0) AS attempted, coalesce(o.final, 0) AS final, coalesce(o.decided, 0) AS decided,
           coalesce(o.failed, 0) AS failed, s.cost_usd
    FROM unnest(CAST(:days AS date[])) AS d (day)
    LEFT JOIN LATERAL (
        SELECT sum(replied_in_time_count + replied_late_count + unreplied_count
                   + reply_unknown_count)::bigint AS missed,
               sum(replied_in_time_count)::bigint AS in_time, sum(replied_late_count)::bigint AS late,
               sum(unreplied_count)::bigint AS unreplied, sum(reply_unknown_count)::bigint AS reply_unknown
        FROM monitoring.missed_call_replies WHERE day = d.day) AS r ON true
    LEFT JOIN LATERAL (
        SELECT sum(message_count) FILTER (WHERE status_class <> 'suppressed')::bigint AS attempted,
               sum(message_count) FILTER (WHERE status = ANY (:final))::bigint AS final,
               sum(message_count) FILTER (WHERE status_class IN ('successful', 'failed'))::bigint AS decided,
               sum(message_count) FILTER (WHERE status_class = 'failed')::bigint AS failed
        FROM monitoring.sms_outcomes WHERE day = d.day) AS o ON true
    LEFT JOIN LATERAL (SELECT sum(cost_usd) AS cost_usd FROM monitoring.spend WHERE day = d.day) AS s ON true
    WHERE EXISTS (SELECT FROM public.daily_stats WHERE date = d.day)
        OR EXISTS (SELECT FROM monitoring.rollup_days AS c
                   WHERE c.table_name = 'daily_stats' AND c.row_day = d.day AND c.checked_at IS NOT NULL)
    """
)
_UNANSWERED = text(
    """
    SELECT coalesce(b.name, '(no business)') AS business, r.unreplied_count AS unreplied,
           r.replied_in_time_count + r.replied_late_count + r.unreplied_count + r.reply_unknown_count AS missed
    FROM monitoring.missed_call_replies AS r LEFT JOIN monitoring.businesses AS b ON b.id = r.business_id
    WHERE r.day = :day AND r.unreplied_count > 0 ORDER BY unreplied DESC, business LIMIT 100
    """
)
_SPENT = text(
    """
    SELECT coalesce(sum(cost_usd) FILTER (WHERE day = :day AND service = 'openai'), 0) AS openai_usd,
           CASE WHEN bool_or(service = 'twilio')
                THEN coalesce(sum(cost_usd) FILTER (WHERE day = :day AND service = 'twilio'), 0) END AS sms_usd
    FROM monitoring.spend WHERE day BETWEEN date_trunc('month', CAST(:day AS date))::date AND :day
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
    SELECT i.id, i.rule, i.severity,
           coalesce(b.name, CASE WHEN i.scope LIKE 'sender:%' THEN 'a sender' ELSE i.scope END) AS whom
    FROM monitoring.incidents AS i LEFT JOIN monitoring.businesses AS b ON b.id = i.business_id
    WHERE i.fired_at IS NOT NULL AND i.resolved_at IS NULL
    ORDER BY array_position(ARRAY['critical', 'warning', 'info'], i.severity), i.id LIMIT 50
    """
)
_SILENT = text(
    """
    SELECT b.name
    FROM public.daily_stats AS s JOIN monitoring.businesses AS b ON b.id = s.business_id
    WHERE s.date = ANY (CAST(:usual AS date[]))
        AND s.calls_total + s.messages_received + s.messages_sent > 0
        AND NOT EXISTS (SELECT FROM public.daily_stats AS t WHERE t.business_id = s.business_id AND t.date = :day
                        AND t.calls_total + t.messages_received + t.messages_sent > 0)
    GROUP BY b.id, b.name HAVING count(*) >= greatest(2, :least) ORDER BY b.name LIMIT 50
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


def read_facts(connection: Connection, day: date, *, zone: ZoneInfo, settle_days: int, reply_minutes: int) -> Facts:
    """Return what is to be told of a day.

    Args:
        connection: A connection to the event database.
        day: The day.
        zone: Reporting zone.
        settle_days: Days after which a day no longer changes by itself.
        reply_minutes: Minutes that count as in time.
    """
    usual = [day - n * _WEEK for n in range(1, WEEKS_COMPARED + 1)]
    days: dict[date, DayFacts] = {}
    values: dict[str, Any] = {"days": [day, *usual], "final": list(FINAL_STATUSES)}
    for row in connection.execute(_DAYS, values).mappings():
        told = {name: row[name] or 0 for name in row if name not in ("day", "missed", "cost_usd")}
        days[row["day"]] = DayFacts(missed=row["missed"], cost_usd=row["cost_usd"], **told)
    is_complete = bool(complete_days(connection, DayRange(day, day), zone))
    spent = connection.execute(_SPENT, {"day": day}).mappings().one()
    known = [days[other] for other in usual if other in days]
    # A rollup of last night makes days final; only later changes restate them.
    restated = {"settled": day - timedelta(days=settle_days + 1), "since": day_end(day, zone)}
    return Facts(
        day=day,
        today=days.get(day, DayFacts()),
        is_computed=day in days,
        usual=known,
        reply_minutes=reply_minutes,
        unanswered=[Unanswered(**row) for row in connection.execute(_UNANSWERED, {"day": day}).mappings()],
        openai_usd=spent["openai_usd"],
        sms_usd=spent["sms_usd"],
        month=read_month(connection, day, is_over=is_complete),
        refused={row.reason: row[1] for row in connection.execute(_REFUSED, {"day": day})},
        incidents=[tuple(row) for row in connection.execute(_INCIDENTS)],
        silent=list(connection.scalars(_SILENT, {"usual": usual, "day": day, "least": len(known) - 1})),
        restated=list(connection.scalars(_RESTATED, restated)),
        is_complete=is_complete,
    )
