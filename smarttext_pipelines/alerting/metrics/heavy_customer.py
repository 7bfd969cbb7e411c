"""A customer who causes much of a business's use of OpenAI on the reporting day; known by key, never by number."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from smarttext_pipelines.alerting.metrics.alert_metric import TODAY, AlertMetric, Reading
from smarttext_pipelines.alerting.rules.span import with_scopes

if TYPE_CHECKING:
    from smarttext_pipelines.alerting.measuring.now import Now
    from smarttext_pipelines.alerting.rules.rule import Rule
    from smarttext_pipelines.alerting.rules.span import Span

MANY_TOKENS, MANY_REQUESTS = 20_000, 100
"""What a customer must have caused on a day to stand out at all: tokens, or requests, as a loop of short ones does."""

_SHORT_KEY = 12
"""Digits of a key that are shown, and that ``smarttext customers show`` takes."""

_HEAVY = """
    WITH used AS (
        SELECT business_id, customer_key, openai_requests AS requests, openai_tokens_used AS tokens, updated_at,
               sum(greatest(openai_tokens_used, 0)) OVER of_business AS all_tokens,
               sum(openai_requests) OVER of_business AS all_requests
        FROM monitoring.customer_days WHERE day = :day AND openai_requests > 0 AND business_id IS NOT NULL
        WINDOW of_business AS (PARTITION BY business_id)
    ), heavy AS (
        SELECT u.*, s.unit, s.part, s.whole, round(100 * s.part / s.whole, 2) AS percent
        FROM used AS u CROSS JOIN LATERAL (
            SELECT * FROM (VALUES
                ('tokens', tokens, all_tokens, :tokens), ('requests', requests, all_requests, :requests)
            ) AS v (unit, part, whole, least)
            WHERE part >= least ORDER BY 1.0 * part / whole DESC, unit DESC LIMIT 1
        ) AS s WHERE customer_key IS NOT NULL
    )
"""
_ADD = text(
    with_scopes(
        f"""
        INSERT INTO alert_measures (signal, kind, scope, business_id, minutes, part, whole, value, label, last_at)
        {_HEAVY}
        SELECT DISTINCT ON (business_id) 'openai_heavy_customer', 'business', business_scope(business_id), business_id,
               1440, part, whole, percent, unit || ' by customer ' || left(customer_key, :short), updated_at
        FROM heavy ORDER BY business_id, percent DESC, tokens DESC, customer_key
        """  # noqa: S608 - constants
    )
)
_ROWS = text(
    f"""
    {_HEAVY}
    SELECT left(customer_key, :short) AS customer, requests, tokens,
           round(1.0 * tokens / requests) AS tokens_per_request, unit AS much_of, percent
    FROM heavy WHERE business_id = :business ORDER BY percent DESC, tokens DESC, customer_key
    """  # noqa: S608 - constants
)
_FROM = {"tokens": MANY_TOKENS, "requests": MANY_REQUESTS, "short": _SHORT_KEY}


def _measure(now: "Now", _: "Sequence[Rule]") -> None:
    now.connection.execute(_ADD, {"day": now.today, **_FROM})


def _rows(now: "Now", _: AlertMetric, span: "Span") -> Sequence[dict[str, Any]]:
    from smarttext_pipelines.core.days import day_of, day_start

    day = day_of(span.end_at, now.place.zone)
    found = now.connection.execute(_ROWS, {"day": day, "business": span.business_id, **_FROM})
    return [{"at": day_start(day, now.place.zone), **row} for row in found.mappings()]


def _headline(_: AlertMetric, reading: Reading) -> str:
    if not reading.value:
        return "no customer stands out"
    what, _by, customer = reading.label.partition(" by ")
    return (
        f"one customer caused {reading.value:.0f} % of today's OpenAI {what or 'use'} "
        f"({reading.part:,.0f} of {reading.whole:,.0f}){f': {customer}' if customer else ''}"
    )


METRICS = (
    AlertMetric(
        "openai_heavy_customer",
        "percent",
        ("business",),
        "of the business's use of OpenAI",
        _measure,
        "were caused by one customer",
        "see what the customer did with `smarttext customers show KEY`, and whether a loop answers it.",
        rows=_rows,
        headline=_headline,
        absent_is_zero=True,
        for_=1,
        min_count=0,
        **TODAY,
    ),
)
