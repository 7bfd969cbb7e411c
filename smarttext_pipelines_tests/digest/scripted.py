"""Scripted days, each with the headline it must get: good ones, and one of each kind of fault."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from smarttext_pipelines.budgets.month import MonthSpend
from smarttext_pipelines.digest.facts import Crossing, Facts, Incident, Silent, Unanswered
from smarttext_pipelines.digest.so_far import SoFar
from smarttext_pipelines.digest.totals import Totals

DAY = date(2026, 3, 20)
NEW_YORK = ZoneInfo("America/New_York")


def business_id(number: int) -> UUID:
    return UUID(int=number)


def totals(missed: int = 118, never: int = 11, late: int = 4, unknown: int = 6, failed: int = 24) -> Totals:
    """Return an ordinary day: most are answered, some never, about four percent of texts fail."""
    return Totals(
        calls=missed + 90, missed=missed, in_time=missed - never - late - unknown, late=late, never=never,
        unknown=unknown, received=240, texts=640, suppressed=8, delivered=604 - failed,
        ok=624 - failed, failed=failed, tokens=90_000,
        openai_usd=Decimal("3.10"), texts_usd=Decimal("5.02"),
    )  # fmt: skip


def _usual() -> list[Totals]:
    days = [totals(missed=110 + n, never=9 + n % 4, late=3 + n % 2, failed=22 + n % 5) for n in range(8)]
    return [replace(each, openai_usd=Decimal("2.95") + Decimal(n) / 20) for n, each in enumerate(days)]


def _left(name: str, unreplied: int, missed: int, number: int) -> Unanswered:
    return Unanswered(name, unreplied, missed, business_id(number), 4, 80)


def _incident(number: int, severity: str = "critical", hour: int = 14, hours: int | None = 2) -> Incident:
    fired = datetime(2026, 3, 20, hour, 10, tzinfo=UTC)
    ended = None if hours is None else fired + timedelta(hours=hours)
    return Incident(number, "sms_failure_rate", severity, "Hartley Plumbing", fired, ended)


GOOD = Facts(
    DAY,
    totals(),
    _usual(),
    zone=NEW_YORK,
    unanswered=[_left(f"Business {n}", 1, 9, n) for n in range(1, 12)],
    month=MonthSpend(Decimal("161.30"), 0, 0, Decimal("249.95")),
    businesses=40,
)
DOVER = [_left("Dover Street", 6, 15, 1), *GOOD.unanswered[6:]]
BAD = replace(
    GOOD,
    today=replace(totals(failed=58), openai_usd=Decimal("31.10")),
    unanswered=DOVER,
    incidents=[_incident(214), _incident(215, "warning", 15), _incident(216, "warning", 16, None)],
    crossings=[Crossing("Oak Garage", Decimal(104), business_id(7))],
    refused={"limit_tokens": 31},
)
EMPTY = Totals()
CROWDED = replace(
    BAD,
    unanswered=[_left(f"Business {n}", 6, 15, n) for n in range(1, 13)],
    incidents=[_incident(210 + n) for n in range(6)],
    crossings=[Crossing(f"Garage {n}", Decimal(100 + n), business_id(20 + n)) for n in range(6)],
    silent=[Silent(f"Salon {n}", business_id(40 + n)) for n in range(9)],
)


def by_noon(hours: dict[int, int], share: float = 1.0) -> SoFar:
    """Return a morning beside five equal weekdays with 40 to 60 events in each hour from eight on."""
    others = [{hour: round((40 + 5 * n) * share) for hour in range(8, 12)} for n in range(5)]
    return SoFar(time(12, 0), hours, others)


HALF = replace(
    GOOD,
    today=totals(missed=50, never=4, late=2, unknown=3),
    is_over=False,
    is_complete=False,
    so_far=by_noon(dict.fromkeys(range(8, 12), 47)),
)

SCRIPTED: dict[str, tuple[Facts, str]] = {
    "good": (GOOD, "All well, Friday 20 March 2026: 82 % answered within 5 minutes, as usual"),
    "four faults": (
        BAD,
        "Bad day, Friday 20 March 2026: 3 incidents, Dover Street left 6 of 15 callers without a text, "
        "9.29 % of texts failed (usually 3.77 %)",
    ),
    "more than a page holds": (
        CROWDED,
        "Bad day, Friday 20 March 2026: 6 incidents, Business 1 left 6 of 15 callers without a text, "
        "Business 2 left 6 of 15 callers without a text",
    ),
    "one critical incident": (
        replace(GOOD, incidents=[_incident(214)]),
        "Bad day, Friday 20 March 2026: an incident of Hartley Plumbing (sms failure rate)",
    ),
    "one warning": (
        replace(GOOD, incidents=[_incident(214, "warning")]),
        "Worth a look, Friday 20 March 2026: an incident of Hartley Plumbing (sms failure rate)",
    ),
    "one business": (
        replace(GOOD, unanswered=DOVER),
        "Bad day, Friday 20 March 2026: Dover Street left 6 of 15 callers without a text",
    ),
    "many without a text": (
        replace(GOOD, today=totals(never=45)),
        "Bad day, Friday 20 March 2026: 45 of 118 callers without a text (usually 9 %), "
        "only 53 % answered within 5 minutes (usually 82 %)",
    ),
    "many late": (
        replace(GOOD, today=totals(late=45)),
        "Bad day, Friday 20 March 2026: only 47 % answered within 5 minutes (usually 82 %)",
    ),
    "late, but not fewer in time": (
        replace(GOOD, today=totals(late=18, never=3, unknown=1)),
        "Worth a look, Friday 20 March 2026: 18 callers answered too late (usually 3 %)",
    ),
    "many failures": (
        replace(GOOD, today=totals(failed=58)),
        "Bad day, Friday 20 March 2026: 9.29 % of texts failed (usually 3.77 %)",
    ),
    "delivery unknown": (
        replace(GOOD, today=replace(GOOD.today, delivered=80)),
        "Worth a look, Friday 20 March 2026: whether texts arrive is unknown",
    ),
    "dear": (
        replace(GOOD, today=replace(GOOD.today, openai_usd=Decimal("31.10"))),
        "Bad day, Friday 20 March 2026: OpenAI cost 31.10 USD (usually 3.12)",
    ),
    "dearer": (
        replace(GOOD, today=replace(GOOD.today, openai_usd=Decimal("6.10"))),
        "Worth a look, Friday 20 March 2026: OpenAI cost 6.10 USD (usually 3.12)",
    ),
    "a budget": (
        replace(GOOD, crossings=BAD.crossings),
        "Worth a look, Friday 20 March 2026: Oak Garage used 104 % of its OpenAI budget",
    ),
    "one silent business": (
        replace(GOOD, silent=[Silent("Rossi Dental", business_id(3))]),
        "Worth a look, Friday 20 March 2026: Rossi Dental silent",
    ),
    "nothing arrived": (
        replace(GOOD, today=EMPTY, unanswered=[], silent=[Silent("Rossi Dental", business_id(3))]),
        "Bad day, Friday 20 March 2026: nothing arrived",
    ),
    "holiday": (
        replace(
            GOOD,
            today=replace(totals(missed=12, never=1, late=0, unknown=0, failed=2), received=20, texts=60,
                          suppressed=0, ok=56, delivered=54),
            unanswered=[],
            silent=[Silent(f"Business {n}", business_id(n)) for n in range(20)],
        ),
        "Quiet day, Friday 20 March 2026: 182 calls and texts, usually about 1,084 on a Friday, "
        "92 % answered within 5 minutes",
    ),
    "no event, and never one": (
        replace(GOOD, today=EMPTY, usual=[], unanswered=[]),
        "Nothing happened, Friday 20 March 2026: no call and no text",
    ),
    "first": (
        replace(GOOD, usual=[]),
        "First day, Friday 20 March 2026: 82 % answered within 5 minutes, nothing to compare with yet",
    ),
    "first, and poor": (
        replace(GOOD, usual=[], today=totals(never=80)),
        "Bad day, Friday 20 March 2026: 80 of 118 callers without a text",
    ),
    "half over": (
        replace(GOOD, today=totals(missed=50, never=4, late=2, unknown=3), is_over=False, is_complete=False),
        "All well so far, Friday 20 March 2026: 82 % answered within 5 minutes; the day is not over",
    ),
    "half over and bad": (
        replace(GOOD, today=totals(missed=50, never=30, late=2, unknown=3), is_over=False, is_complete=False,
                unanswered=[]),
        "Bad day so far, Friday 20 March 2026: only 30 % answered within 5 minutes (usually 82 %)",
    ),
    "half over and ordinary": (
        HALF,
        "All well so far, Friday 20 March 2026: 82 % answered within 5 minutes; the day is not over",
    ),
    "half over, many texts still to come": (
        replace(HALF, today=totals(missed=50, never=0, late=2, unknown=7)),
        "All well so far, Friday 20 March 2026: 82 % answered within 5 minutes; the day is not over",
    ),
    "half over and quiet": (
        replace(HALF, so_far=by_noon(dict.fromkeys(range(8, 12), 11))),
        "Quiet so far, Friday 20 March 2026: 44 events by 12:00, usually about 200 by then on a Friday, "
        "82 % answered within 5 minutes; the day is not over",
    ),
    "half over, and nothing arrived": (
        replace(HALF, today=EMPTY, unanswered=[], so_far=by_noon({})),
        "Bad day so far, Friday 20 March 2026: nothing arrived by 12:00",
    ),
    "half over, and nothing arrived since ten": (
        replace(HALF, so_far=by_noon({8: 50, 9: 48})),
        "Bad day so far, Friday 20 March 2026: nothing arrived from 10:00 to 12:00",
    ),
    "half over, nothing in hours that are not busy": (
        replace(HALF, today=EMPTY, unanswered=[], so_far=by_noon({}, share=0.05)),
        "Nothing so far, Friday 20 March 2026: no call and no text; the day is not over",
    ),
    "half over, and no hours to compare with": (
        replace(HALF, today=EMPTY, unanswered=[], so_far=None),
        "Nothing so far, Friday 20 March 2026: no call and no text; the day is not over",
    ),
    "Monday": (
        replace(GOOD, day=date(2026, 3, 23)),
        "All well, Monday 23 March 2026: 82 % answered within 5 minutes, as usual",
    ),
    "rolled up too early": (
        replace(GOOD, is_complete=False),
        "Worth a look, Friday 20 March 2026: its numbers are partial",
    ),
    "not rolled up": (
        Facts(DAY, EMPTY, is_computed=False),
        "Unknown, Friday 20 March 2026: the day was not rolled up",
    ),
}  # fmt: skip
