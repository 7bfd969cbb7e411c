"""The few numbers of an asset that people ask for first, and the sentence that a run writes of itself."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from smarttext_pipelines.core.rates import percent

if TYPE_CHECKING:
    from smarttext_pipelines.rollup import RolledUp

Totals = Mapping[str, Decimal]
Number = int | float | None


def _sum(*names: str) -> Callable[[Totals], Number]:
    return lambda totals: int(sum((totals.get(name, Decimal(0)) for name in names), Decimal(0)))


def _usd(name: str) -> Callable[[Totals], Number]:
    return lambda totals: round(float(totals.get(name, 0)), 6)


def _share(part: str, *whole: str) -> Callable[[Totals], Number]:
    def share(totals: Totals) -> Number:
        counted = [int(totals.get(name, 0)) for name in (part, *whole)]
        found = percent(counted[0], sum(counted[1:]))
        return None if found is None else float(found)

    return share


HEADLINES: dict[str, dict[str, Callable[[Totals], Number]]] = {
    "sms_outcomes": {"messages": _sum("message_count"), "late_reports": _sum("late_report_count")},
    "spend": {"requests": _sum("request_count"), "tokens": _sum("tokens_used"), "cost_usd": _usd("cost_usd")},
    "call_volume": {
        "calls": _sum("calls_total"),
        "calls_missed": _sum("calls_missed"),
        "texts_received": _sum("messages_received"),
    },
    "missed_call_replies": {
        "answered_in_time": _sum("replied_in_time_count"),
        "answered_late": _sum("replied_late_count"),
        "never_answered": _sum("unreplied_count"),
        "answer_unknown": _sum("reply_unknown_count"),
    },
    "customer_days": {
        "calls_missed": _sum("calls_missed"),
        "texts_received": _sum("messages_received"),
        "texts_sent": _sum("messages_sent"),
        "requests": _sum("openai_requests"),
    },
    "owner_alert_delivery": {"alerts_sent": _sum("sent_count"), "alerts_failed": _sum("failed_count")},
    "sms_failure_rates": {
        "texts_attempted": _sum("total_attempts"),
        "texts_failed": _sum("failed"),
        "failure_rate_percent": _share("failed", "successful", "failed"),
    },
    "daily_stats": {
        "calls_missed": _sum("calls_missed"),
        "texts_sent": _sum("messages_sent"),
        "failure_rate_percent": _share("sms_failure_count", "sms_success_count", "sms_failure_count"),
        "openai_tokens": _sum("openai_tokens_used"),
        "openai_cost_usd": _usd("openai_cost_estimate"),
        "owner_alerts_sent": _sum("owner_alerts_sent"),
    },
}
"""By asset: label and how it follows from the sums of the day's measures."""


def headline(asset: str, totals: Totals) -> dict[str, int | float]:
    """Return the numbers of a day; a rate of nothing is left out."""
    found = {label: read(totals) for label, read in HEADLINES[asset].items()}
    return {label: number for label, number in found.items() if number is not None}


def sentence(result: "RolledUp") -> str:
    """Return what a rollup did, in one sentence for the log of its run."""
    days = sorted(result.days)
    when = str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"
    totals: dict[str, Decimal] = {}
    for day in result.days.values():
        for name, value in day.totals.items():
            totals[name] = totals.get(name, Decimal(0)) + value
    rows, changed = (sum(getattr(day, name) for day in result.days.values()) for name in ("rows", "rows_changed"))
    numbers = ", ".join(
        f"{label.replace('_', ' ')} {value:,}" for label, value in headline(result.metric, totals).items()
    )
    kept = f"; {len(result.kept)} of {len(days)} days kept older numbers" if result.kept else ""
    notes = "".join(f"; {note}" for note in dict.fromkeys(result.notes))
    return f"{result.metric} {when}: {numbers} ({rows:,} rows, {changed:,} changed by {result.engine}){kept}{notes}"
