"""The figures of a report; a sum that lacks days says so, and is unknown rather than zero. Pure."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import TypeVar

from smarttext_pipelines.core.rates import percent
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.digest.totals import Totals
from smarttext_pipelines.reports.month_facts import MonthFacts
from smarttext_pipelines.web.view import Figure

N = TypeVar("N", int, Decimal)


def named_month(first: date) -> str:
    """Return a month as people say it: ``October 2026``."""
    return f"{first:%B %Y}"


def reply_time(facts: MonthFacts) -> str:
    """Return what counts as in time: ``within 5 minutes``."""
    said = " or ".join(map(str, facts.reply_minutes))
    return f"within {said} {'minute' if said == '1' else 'minutes'}"


def counted_days(facts: MonthFacts) -> str:
    """Return how many days the figures are of, where it is not all of them."""
    known, days = len(facts.totals), len(facts.month.days)
    return "" if known == days else f"{known} of {days} days"


def month_figures(facts: MonthFacts, whole: Totals) -> dict[str, tuple[Figure, ...]]:
    """Return the figures by group.

    Args:
        facts: What is known.
        whole: The sum of its days.
    """
    known = [each for each in facts.totals.values() if each.in_time is not None]

    def count(name: str, label: str, said: str = "", tone: str = "") -> Figure:
        value = _unless_hidden(facts, getattr(whole, name))
        note = said if value is not None else ""
        if value is None and 0 < len(known) < len(facts.totals) and getattr(whole, name) is None:
            note = f"{sum(getattr(each, name) for each in known):,} on the {counted(len(known), 'day')} that know it"
        return Figure(name=name, label=label, value=value, note=note, tone=tone if value else "")

    share = percent(whole.in_time, whole.missed) if whole.in_time is not None else None
    calls = (
        count("missed", "Calls missed", f"of {counted(whole.calls, 'call')}"),
        count("in_time", f"Saved: answered {reply_time(facts)}", f"{share:.2f} %" if share is not None else "", "good"),
        count("late", "Answered later", "within 24 hours"),
        count("never", "Never answered", tone="bad"),
        count("unknown", "Answer not known", "as with a withheld number"),
    )
    texts = (
        count("received", "Texts from customers"),
        count("texts", "Texts sent"),
        count("failed", "Texts that failed", f"of {whole.decided:,} whose outcome is known", "look"),
    )
    return {"calls": calls, "texts": texts, "cost": _costs(facts, whole)}


def _costs(facts: MonthFacts, whole: Totals) -> tuple[Figure, ...]:
    openai = _unless_hidden(facts, whole.openai_usd)
    unpriced = f"{counted(facts.unpriced, 'request')} without a price left out" if facts.unpriced else ""
    if facts.unpriced and not whole.openai_usd:
        openai = None
    paid, priced = whole.texts_usd, "as far as prices are recorded"
    if paid is None:
        priced = "no price of a text is recorded"
        nothing = _unless_hidden(facts, Decimal(0))
        if nothing is not None and not whole.texts and not whole.received:
            paid, priced = nothing, "there was no text"
    fees = "" if whole.fees_usd is None else f"carriers’ fees apart: {whole.fees_usd:,.4f} USD"
    return (
        _cost("openai_usd", "OpenAI", openai, (unpriced,)),
        Figure(name="tokens", label="OpenAI tokens", value=_unless_hidden(facts, whole.tokens)),
        _cost("texts_usd", "Texts", paid, (priced, fees)),
    )


def _cost(name: str, label: str, value: Decimal | None, notes: Sequence[str]) -> Figure:
    return Figure(name=name, label=label, value=value, unit="USD", note="; ".join(part for part in notes if part))


def _unless_hidden(facts: MonthFacts, value: N | None) -> N | None:
    """Return a sum; None for a zero that only days which were not counted make, and before the first event."""
    is_whole = len(facts.totals) == len(facts.month.days)
    has_begun = facts.first_day is not None and facts.first_day <= facts.month.days.last
    return value if value or (value is not None and is_whole and has_begun) else None
