"""What the report of a month tells of a business, read from facts and stats; only hours are read from events."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.alerting.rules.rules_file import load_rules
from smarttext_pipelines.core.days import DayRange, day_of, is_final
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.failure_classes import class_of
from smarttext_pipelines.database.rolled_up_days import complete_days
from smarttext_pipelines.digest.totals import Totals, read_totals
from smarttext_pipelines.explain.month_messages import days_of_month
from smarttext_pipelines.reports.missed_hours import MissedHours
from smarttext_pipelines.reports.month_incidents import MonthIncidents, read_incidents
from smarttext_pipelines.settings import Settings
from smarttext_pipelines.web.failure_rows import failures_table

_BUSINESS = text(
    """
    SELECT b.name, (SELECT min(date) FROM public.daily_stats WHERE business_id = b.id) AS first_day,
           (SELECT array_agg(DISTINCT reply_minutes ORDER BY reply_minutes) FROM monitoring.missed_call_replies
            WHERE business_id = b.id AND day BETWEEN :first AND :last) AS reply_minutes,
           (SELECT sum(unpriced_requests)::bigint FROM monitoring.spend
            WHERE business_id = b.id AND service = 'openai' AND day BETWEEN :first AND :last) AS unpriced
    FROM monitoring.business_names AS b WHERE b.id = :business
    """
)
_COUNTED = text("SELECT max(checked_at) FROM monitoring.rollup_days WHERE row_day BETWEEN :first AND :last")
_ACTIVE = text(
    """
    SELECT DISTINCT s.business_id FROM public.daily_stats AS s
    JOIN monitoring.business_names AS b ON b.id = s.business_id
    WHERE s.date BETWEEN :first AND :last ORDER BY s.business_id
    """
)


@dataclass(frozen=True)
class Month:
    """The month that is told, and how.

    Attributes:
        first: Its first day.
        days: Its days that are over.
        zone: Reporting zone.
        settle_days: Days after which a day no longer changes by itself.
        reply_minutes: Minutes that count as in time now.
        now: Time of reading.
        shared_senders: Numbers that identify no business.
        metrics: What each rule watches.
    """

    first: date
    days: DayRange
    zone: ZoneInfo
    settle_days: int
    reply_minutes: int
    now: datetime
    shared_senders: Sequence[str] = ()
    metrics: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether the month had ended."""
        return (self.days.last + timedelta(days=1)).day == 1

    @property
    def is_settled(self) -> bool:
        """Whether no day of it changes by itself any more."""
        return is_final(self.days.last, self.zone, self.settle_days, self.now)


@dataclass(frozen=True)
class MonthFacts:
    """What is known of a business and a month.

    Attributes:
        business: Its id.
        name: Its name, cleaned.
        month: The month.
        totals: Numbers of each day that was rolled up.
        cut_short: Days that were rolled up only before their end.
        counted_at: When the newest of these days was counted; None where none was.
        first_day: First day of any month with an event of the business; None where there is none.
        reply_minutes: Minutes that counted as in time; several where the setting changed.
        unpriced: OpenAI requests without a price.
        hours: Missed calls by weekday and hour, as far as they are known.
        failures: Failed texts by class, the most frequent first, each with its reason and who acts.
        incidents: What fired.
    """

    business: UUID
    name: str
    month: Month
    totals: Mapping[date, Totals]
    cut_short: Sequence[date]
    counted_at: datetime | None
    first_day: date | None
    reply_minutes: Sequence[int]
    unpriced: int
    hours: MissedHours
    failures: Sequence[tuple[str, str, int]]
    incidents: MonthIncidents


def month_of(settings: Settings, first: date, now: datetime) -> Month:
    """Return a month as these settings tell it.

    Raises:
        InputError: No day of it is over.
    """
    yesterday = day_of(now, settings.zone) - timedelta(days=1)
    if yesterday < first:
        msg = f"no day of {first:%Y-%m} is over yet; yesterday was {yesterday} in {settings.reporting_timezone}"
        raise InputError(msg)
    metrics: Mapping[str, str] = {}
    # A mistake in the file of rules is told where alerts are; here only its words would be missing.
    with suppress(InputError):
        metrics = {name: rule.alert_metric.name for name, rule in load_rules(settings.alert_rules).items()}
    return Month(
        first,
        days_of_month(first, yesterday),
        settings.zone,
        settings.settle_days,
        settings.reply_minutes,
        now,
        [each.get_secret_value() for each in settings.shared_senders],
        metrics,
    )


def active_businesses(connection: Connection, days: DayRange) -> list[UUID]:
    """Return the businesses that had any event on some days."""
    return list(connection.scalars(_ACTIVE, {"first": days.first, "last": days.last}))


def read_month_facts(
    connection: Connection, business: UUID, month: Month, found: Mapping[date, Mapping[int, int]]
) -> MonthFacts:
    """Return what is known of a business and a month.

    Args:
        connection: A connection to the event database.
        business: Its id.
        month: The month.
        found: Result of ``missed_hours`` for the business.

    Raises:
        InputError: There is no such business.
    """
    days = month.days
    values = {"business": business, "first": days.first, "last": days.last}
    row = connection.execute(_BUSINESS, values).first()
    if row is None:
        msg = f"there is no business {business}"
        raise InputError(msg)
    totals = read_totals(connection, days, business=business)
    complete = complete_days(connection, days, month.zone)
    known = {day: each.missed for day, each in totals.items()}
    return MonthFacts(
        business=business,
        name=shown_name(row.name),
        month=month,
        totals=totals,
        cut_short=sorted(set(totals) - complete),
        counted_at=connection.scalar(_COUNTED, values),
        first_day=row.first_day,
        reply_minutes=row.reply_minutes or [month.reply_minutes],
        unpriced=row.unpriced or 0,
        hours=MissedHours.agreeing(found, known),
        failures=_failures(connection, business, days),
        incidents=read_incidents(connection, business, days, month.zone),
    )


def _failures(connection: Connection, business: UUID, days: DayRange) -> list[tuple[str, str, int]]:
    """Return reason, who acts and count of each class."""
    counts: dict[tuple[str, str], int] = {}
    for row in failures_table(connection, days, business, is_all=False).rows:
        known = class_of(None if row["code"] == "none" else str(row["code"]))
        key = (known.reason, known.who)
        counts[key] = counts.get(key, 0) + int(str(row["texts"]))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(reason, who, count) for (reason, who), count in ordered]
