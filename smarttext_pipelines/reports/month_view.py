"""The report of a month as sentences, figures and rows, from what is known; every form is written from it. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from smarttext_pipelines.core.days import contiguous
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.digest.totals import Totals, summed
from smarttext_pipelines.reports.month_facts import MonthFacts
from smarttext_pipelines.reports.month_figures import counted_days, month_figures, named_month, reply_time
from smarttext_pipelines.web.view import Figure

_WHO = {"nobody": "There is nothing to repair.", "you": "SmartText can act.", "operator": "SmartText can act."}
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class DayRow:
    """A day of the report; its totals are None where it was not counted or nothing was recorded until then.

    Attributes:
        day: The day.
        totals: Its numbers.
        is_before: Whether it lies before the first event of the business.
    """

    day: date
    totals: Totals | None
    is_before: bool = False


@dataclass(frozen=True)
class Told:
    """Something that happened, and what was done about it."""

    what: str
    done: str


@dataclass(frozen=True)
class Report:
    """Everything that a report tells.

    Attributes:
        facts: What it was made of.
        title: Of the page.
        headline: The month in a sentence.
        unknown: What is not known, a sentence each.
        figures: Calls, texts, cost, in this order; None is unknown.
        span: How many days they are of, where it is not all of them.
        days: A row for each day that is over.
        hours: Missed calls of each weekday by hour; None where those of no such day are known.
        failures: Why texts failed.
        incidents: What fired.
        more_incidents: Incidents that are not listed.
    """

    facts: MonthFacts
    title: str
    headline: str
    unknown: Sequence[str]
    figures: dict[str, tuple[Figure, ...]]
    span: str
    days: Sequence[DayRow]
    hours: Sequence[Sequence[int] | None]
    failures: Sequence[Told]
    incidents: Sequence[Told]
    more_incidents: int


def report_of(facts: MonthFacts) -> Report:
    """Return the report of what is known."""
    month, whole = facts.month, summed(list(facts.totals.values()))
    hours = facts.hours
    told = [
        Told(
            f"{each.fired_at.astimezone(month.zone):%-d %B, %H:%M}: {each.what(month.metrics)}",
            f"{each.done[0].upper()}{each.done[1:]}.",
        )
        for each in facts.incidents.told
    ]
    return Report(
        facts=facts,
        title=f"{facts.name}: {named_month(month.first)}",
        headline=_headline(facts, whole),
        unknown=tuple(_unknown(facts)),
        figures=month_figures(facts, whole),
        span=counted_days(facts),
        days=[
            DayRow(day, None if _is_before(facts, day) else facts.totals.get(day), _is_before(facts, day))
            for day in month.days
        ],
        hours=[
            [hours.counts.get((day, hour), 0) for hour in range(24)] if day in hours.weekdays else None
            for day in range(7)
        ],
        failures=[
            Told(f"{counted(count, 'text')} failed: {reason}", _WHO[who]) for reason, who, count in facts.failures
        ],
        incidents=told,
        more_incidents=facts.incidents.fired - len(told),
    )


def said_days(days: Sequence[date]) -> str:
    """Return days of one month as people say them: ``1–19 and 24 October``."""
    parts = [
        f"{each.first.day}" if len(each) == 1 else f"{each.first.day}–{each.last.day}" for each in contiguous(days)
    ]
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"{listed} {days[0]:%B}"


def _is_before(facts: MonthFacts, day: date) -> bool:
    """Tell whether a day that was counted lies before the first event of the business."""
    return day in facts.totals and (facts.first_day is None or day < facts.first_day)


def _headline(facts: MonthFacts, whole: Totals) -> str:
    name = named_month(facts.month.first)
    if not facts.totals:
        return f"Nothing of {name} was counted yet, so nothing of it is known."
    if all(_is_before(facts, day) for day in facts.totals):
        return f"Nothing was recorded of {facts.name} in {name}, or before."
    within = "" if len(facts.totals) == len(facts.month.days) and facts.month.is_over else ", as far as it was counted"
    if not whole.missed:
        return f"No missed call was recorded in {name}{within}."
    missed = f"{counted(whole.missed, 'call')} {'was' if whole.missed == 1 else 'were'} missed in {name}{within}"
    if whole.in_time is None:
        return f"{missed}; how many of them were answered by a text is not known."
    share = whole.in_time_percent or Decimal(0)
    return f"{missed}. {whole.in_time:,} ({share:.0f} %) {_were_saved(whole.in_time)} {reply_time(facts)}."


def _were_saved(count: int) -> str:
    return "was saved: the caller got a text" if count == 1 else "were saved: the caller got a text"


def _unknown(facts: MonthFacts) -> Iterator[str]:
    month, days = facts.month, facts.month.days
    if not month.is_over:
        yield f"{named_month(month.first)} is not over: these are its days up to {days.last.day} {days.last:%B}."
    yield from _days_unknown(facts)
    replies = [day for day, each in facts.totals.items() if each.in_time is None]
    if replies:
        yield f"Whether missed calls were answered is not known of {said_days(replies)}."
    if facts.totals and not month.is_settled:
        yield "The last days may still change: the networks tell for days what became of a text."
    if len(facts.reply_minutes) > 1:
        yield f"What counts as in time was changed during the month: {reply_time(facts)}."
    yield from _hours_unknown(facts)


def _days_unknown(facts: MonthFacts) -> Iterator[str]:
    missing = [day for day in facts.month.days if day not in facts.totals]
    if missing:
        yield f"Not counted: {said_days(missing)}. What happened then is unknown, and in no number here."
    if facts.cut_short:
        yield f"Counted only in part, before the day was over: {said_days(facts.cut_short)}."
    before = [day for day in facts.totals if _is_before(facts, day)]
    if before and facts.first_day is not None:
        first = facts.first_day
        yield f"The first call, text or cost was recorded on {first.day} {first:%B %Y}; nothing is known from before."


def _hours_unknown(facts: MonthFacts) -> Iterator[str]:
    hours = facts.hours
    if hours.archived:
        yield (
            f"The hours of {said_days(hours.archived)} are not known: the single calls are no longer at hand, "
            "only how many there were."
        )
    if hours.changed:
        yield f"The hours of {said_days(hours.changed)} are not known: calls were added after they were counted."
