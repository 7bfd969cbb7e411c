"""OpenAI's budgets, spend and prices on the reporting day."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smarttext_pipelines.alerting.metrics.alert_metric import DAY, TODAY, AlertMetric, Reading

if TYPE_CHECKING:
    from smarttext_pipelines.alerting.measuring.now import Now
    from smarttext_pipelines.alerting.rules.rule import Rule
    from smarttext_pipelines.alerting.rules.span import Span


def _measure(now: "Now", _: "Sequence[Rule]") -> None:
    now.run("money", {"today": now.today})


def _rows(now: "Now", metric: AlertMetric, span: "Span") -> Sequence[dict[str, Any]]:
    """Return the requests of the reporting day that the value sums up."""
    from smarttext_pipelines.core.days import DayRange, day_of
    from smarttext_pipelines.metrics.metric import Window
    from smarttext_pipelines.metrics.spend import is_unpriced, usage
    from smarttext_pipelines.schema.installation import counts_usage_by_time

    day = day_of(span.end_at, now.place.zone)
    by_time = counts_usage_by_time(now.connection)
    window = Window(DayRange(day, day), now.place.zone, now.place.settle_days, span.end_at, usage_by_time=by_time)
    found = usage(now.engine.tables, window)
    # A row without a time has its day from reset_date, and is summed with it.
    wanted = found.filter(found.service == "openai", found.created_at.isnull() | (found.created_at <= span.end_at))
    if metric.name == "unpriced_share":
        wanted = wanted.filter(is_unpriced(wanted))
    elif span.scope.kind == "business":
        is_theirs = wanted.business_id.isnull() if span.business_id is None else wanted.business_id == span.business_id
        wanted = wanted.filter(is_theirs)
    # Who may not read events gets no name of a request.
    columns = [n for n in ("endpoint", "model", "tokens_used", "cost_estimate", "request_id") if n in wanted.columns]
    rows = now.engine.fetch(wanted.order_by("created_at").select("created_at", *columns))
    return [{"at": row["created_at"], **{name: row[name] for name in columns}} for row in rows]


def _budget(_: AlertMetric, reading: Reading) -> str:
    used, allowed, unit = reading.part, reading.whole, reading.label
    said = f" ({used:,.0f} of {allowed:,.0f} {unit})" if unit else ""
    said = f" ({used:,.2f} of {allowed:,.2f} USD)" if unit == "usd" else said
    return f"{int(reading.value)} % of today's OpenAI budget used{said}"


def _spend(_: AlertMetric, reading: Reading) -> str:
    usual = f" ({reading.label})" if reading.label else ""
    return f"{reading.part:,.2f} USD for OpenAI today, {reading.value:.1f} × the usual{usual}"


METRICS = (
    AlertMetric(
        "openai_budget",
        "percent",
        ("business",),
        "of the budget",
        _measure,
        "used",
        "ask the owner, then grant more for today with "
        "`smarttext budgets grant --business NAME --tokens N --reason TEXT`, or let the limit hold: it refuses further "
        "requests until the day ends.",
        rows=_rows,
        events="usage",
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
        "spent",
        "look which model and endpoint grew, and whether a loop calls OpenAI.",
        rows=_rows,
        events="usage",
        headline=_spend,
        **TODAY,
    ),
    AlertMetric(
        "unpriced_share",
        "percent",
        ("platform",),
        "requests",
        _measure,
        "have no price",
        "find the writer that records tokens without a cost.",
        rows=_rows,
        events="usage",
        is_rate=True,
        quiet=(DAY, "too few requests for 24 hours"),
        **TODAY,
    ),
)
