"""The totals of some days as figures, tables and charts: the same on every page that shows them. Pure."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from urllib.parse import urlencode
from uuid import UUID

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.rates import percent
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.digest.totals import Totals
from smarttext_pipelines.web.view import Column, Figure, Series, Table

ANYBODY = "all"
"""In an address: every business, and what has none."""


def explain_link(column: str, day: date, business: UUID | str | None = ANYBODY) -> str:
    """Return the address of the rows behind a column of a day."""
    return f"/explain/{column}?{urlencode({'date': day.isoformat(), 'business': business or 'none'})}"


def figures(totals: Totals, day: date, reply_minutes: int, business: UUID | str | None = ANYBODY) -> list[Figure]:
    """Return the numbers of a day, each with the address of its rows."""

    def link(column: str) -> str:
        return explain_link(column, day, business)

    in_time = totals.in_time_percent
    answered = f"of {totals.missed:,} missed calls" if in_time is None else f"{in_time:.1f} % of {totals.missed:,}"
    known = totals.known_percent
    rate = percent(totals.failed, totals.decided)
    coverage = "outcomes unknown" if known is None else f"{known:.1f} % of the outcomes known"
    return [
        Figure(name="calls_missed", label="Calls missed", value=totals.missed, link=link("calls_missed"),
               note=f"of {totals.calls:,} calls"),
        Figure(name="in_time", label=f"Answered within {reply_minutes} min", value=totals.in_time, note=answered,
               link=link("replied_in_time_count")),
        Figure(name="late", label="Answered later", value=totals.late, link=link("replied_late_count")),
        Figure(name="never", label="Not answered", value=totals.never, link=link("missed_calls_unreplied"),
               tone="look" if totals.never else ""),
        Figure(name="unknown", label="Answer not known", value=totals.unknown,
               link=link("missed_calls_reply_unknown")),
        Figure(name="texts", label="Texts sent", value=totals.texts, link=link("messages_sent"), note=coverage),
        Figure(name="failed", label="Texts failed", value=totals.failed, link=link("sms_failure_count"),
               note=f"of {totals.decided:,} with an outcome", tone="look" if totals.failed else ""),
        Figure(name="failed_percent", label="Failure rate", value=totals.failed_percent, unit="percent",
               note="" if totals.failed_percent is not None or rate is None else "too few outcomes are known"),
        Figure(name="tokens", label="OpenAI tokens", value=totals.tokens, link=link("openai_tokens_used")),
        Figure(name="openai_usd", label="OpenAI cost", value=totals.openai_usd, unit="USD",
               link=link("openai_cost_estimate")),
    ]  # fmt: skip


_COLUMNS = (
    Column(key="day", label="Day", link="day_link"),
    Column(key="missed", label="Missed"),
    Column(key="in_time", label="In time"),
    Column(key="late", label="Late"),
    Column(key="never", label="Never"),
    Column(key="texts", label="Texts"),
    Column(key="failed", label="Failed"),
    Column(key="failed_percent", label="Failed", unit="percent"),
    Column(key="known_percent", label="Known", unit="percent"),
    Column(key="tokens", label="Tokens"),
    Column(key="openai_usd", label="OpenAI", unit="USD"),
)


def by_day(found: Mapping[date, Totals], days: DayRange, *, is_of_all: bool = True) -> Table:
    """Return a row for each day, the newest first; a day that was not rolled up says unknown."""
    rows = []
    for day in reversed(list(days)):
        totals = found.get(day)
        rows.append(
            {
                "day": day,
                "day_link": f"/digest?date={day}" if is_of_all else None,
                **{column.key: getattr(totals, column.key, None) for column in _COLUMNS[1:]},
            }
        )
    return Table(name="days", title="Day by day", columns=_COLUMNS, rows=tuple(rows), empty="No day was computed.")


def charts(found: Mapping[date, Totals], days: DayRange) -> tuple[Series, ...]:
    """Return answered calls, texts and cost by day; a day that was not rolled up leaves a gap."""
    order = tuple(days)

    def values(name: str) -> tuple[float | int | Decimal | None, ...]:
        return tuple(getattr(found.get(day), name, None) for day in order)

    return (
        Series(name="replies", title="Missed calls", unit="", days=order,
               lines={"in time": values("in_time"), "late": values("late"), "never": values("never")}),
        Series(name="texts", title="Texts", unit="", days=order,
               lines={"sent": values("texts"), "failed": values("failed")}),
        Series(name="cost", title="OpenAI cost", unit="USD", days=order, lines={"USD": values("openai_usd")}),
    )  # fmt: skip


def headline(totals: Totals | None, open_incidents: Mapping[str, int]) -> tuple[str, str]:
    """Return what is said above everything else, and its tone; open incidents are counted by severity."""
    critical = open_incidents.get("critical", 0)
    pressing = sum(count for severity, count in open_incidents.items() if severity != "info")
    if critical:
        return f"{counted(critical, 'critical incident')} open", "bad"
    if pressing:
        return f"{counted(pressing, 'incident')} open", "look"
    if totals is None:
        return "No incident needs anybody; today was not computed yet", ""
    if totals.in_time is None or totals.missed == 0:
        return "No incident needs anybody", "good"
    return f"No incident needs anybody; {totals.in_time:,} of {totals.missed:,} missed calls answered in time", "good"
