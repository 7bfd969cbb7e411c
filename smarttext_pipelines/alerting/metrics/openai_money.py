"""OpenAI's budgets, spend and prices on the reporting day."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from smarttext_pipelines.alerting.metrics.alert_metric import TODAY, AlertMetric, Reading

if TYPE_CHECKING:
    from smarttext_pipelines.alerting.measuring.now import Now
    from smarttext_pipelines.alerting.rules.rule import Rule


def _measure(now: "Now", _: "Sequence[Rule]") -> None:
    now.run("money", {"today": now.today})


def _budget(_: AlertMetric, reading: Reading) -> str:
    used, allowed, unit = reading.part, reading.whole, reading.label
    said = f" ({used:,.0f} of {allowed:,.0f} {unit})" if unit else ""
    said = f" ({used:,.2f} of {allowed:,.2f} USD)" if unit == "usd" else said
    return f"{int(reading.value)} % of today's OpenAI budget used{said}"


def _spend(_: AlertMetric, reading: Reading) -> str:
    return f"{reading.part:,.2f} USD for OpenAI today, {reading.value:.1f} × the usual of the last 7 days"


METRICS = (
    AlertMetric(
        "openai_budget",
        "percent",
        ("business",),
        "of the budget",
        _measure,
        "(you): ask the owner, then grant more for today or let the limit hold.",
        headline=_budget,
        absent_is_zero=True,
        for_=1,
        **TODAY,
    ),
    AlertMetric(
        "openai_spend",
        "factor",
        ("business", "platform"),
        "USD today",
        _measure,
        "(you): look which model and endpoint grew, and whether a loop calls OpenAI.",
        headline=_spend,
        **TODAY,
    ),
    AlertMetric(
        "unpriced_share",
        "percent",
        ("platform",),
        "requests without a price",
        _measure,
        "(you): find the writer that records tokens without a cost.",
        is_rate=True,
        **TODAY,
    ),
)
