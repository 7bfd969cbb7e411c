"""The month that says the most: gaps everywhere, every kind of failure, more incidents than are listed."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.failure_classes import failure_classes
from smarttext_pipelines.digest.totals import Totals
from smarttext_pipelines.reports.missed_hours import MissedHours
from smarttext_pipelines.reports.month_facts import Month, MonthFacts
from smarttext_pipelines.reports.month_incidents import MOST, MonthIncident, MonthIncidents

DAYS = DayRange(date(2026, 10, 1), date(2026, 10, 31))
_AT = datetime(2026, 10, 12, 14, 5, tzinfo=UTC)


def _day(day: date, chance: random.Random) -> Totals:
    in_time, late, never, unknown = (chance.randint(0, most) for most in (60, 20, 20, 10))
    states = (in_time, late, never, unknown)
    known = {"in_time": in_time, "late": late, "never": never, "unknown": unknown}
    return Totals(
        calls=sum(states) + 5, missed=sum(states), received=40, texts=90, delivered=60, ok=60, failed=never,
        tokens=9000, openai_usd=Decimal("1.2345"), texts_usd=Decimal("0.5"), fees_usd=Decimal("0.1"),
        **(dict.fromkeys(known) if day.day % 5 == 0 else known),
    )  # fmt: skip


def fullest_month() -> MonthFacts:
    """Return it; the same on every call."""
    chance = random.Random(3)
    totals = {day: _day(day, chance) for day in DAYS if day.day % 3}
    found = {day: {9: each.missed + day.day % 2 - (day.day % 4 == 0)} for day, each in totals.items()}
    fired = [
        MonthIncident(n, "sms_failure_rate", "warning", _AT + timedelta(days=n), None, None, Decimal(43), True, True)
        for n in range(MOST)
    ]
    return MonthFacts(
        business=UUID(int=5),
        name=shown_name("Hartley & Wilberforce-Smythe Plumbing, Heating, Gas and Boiler Repairs Ltd"),
        month=Month(
            DAYS.first, DAYS, ZoneInfo("America/New_York"), 4, 5, datetime(2026, 11, 2, tzinfo=UTC),
            metrics={"sms_failure_rate": "sms_failure_rate"},
        ),
        totals=totals,
        cut_short=[day for day in totals if day.day % 2],
        counted_at=datetime(2026, 11, 2, 5, tzinfo=UTC),
        first_day=date(2026, 9, 1),
        reply_minutes=[5, 10],
        unpriced=1200,
        hours=MissedHours.agreeing(found, {day: each.missed for day, each in totals.items()}),
        failures=[(each.reason, each.who, 1200) for each in failure_classes().values()],
        incidents=MonthIncidents(fired, 40),
    )  # fmt: skip
