"""Whether the sums over customers are those of the facts that count the same calls, texts and requests."""

from collections.abc import Iterable
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.database.findings import on_days

_CALLS = ("calls_total", "calls_missed", "messages_received")
_REPLIES = ("replied_in_time_count", "replied_late_count", "unreplied_count", "reply_unknown_count")
_TEXTS = {
    "messages_sent": "true",
    "sms_success_count": "status_class = 'successful'",
    "sms_failure_count": "status_class = 'failed'",
    "sms_in_flight_count": "status_class = 'in_flight'",
    "sms_suppressed_count": "status_class = 'suppressed'",
    "sms_unknown_count": "status_class = 'unknown'",
}
_USAGE = {
    "openai_requests": "request_count",
    "openai_tokens_used": "tokens_used",
    "openai_cost_estimate": "cost_usd",
    "openai_unpriced_requests": "unpriced_requests",
}
_MEASURES = (*_CALLS, *_REPLIES, *_TEXTS, *_USAGE)


def _part(columns: dict[str, str], source: str, days: str) -> str:
    values = ", ".join(f"{columns.get(name, '0')}::numeric AS {name}" for name in _MEASURES)
    return f"SELECT day, business_id, {values} FROM monitoring.{source} WHERE {days}"  # noqa: S608 - constant names


def _compared(days: str) -> str:
    """Return the statement of both sums, by day and business, of days whose customers were computed."""
    texts = {name: f"CASE WHEN {where} THEN message_count ELSE 0 END" for name, where in _TEXTS.items()}
    customers = _part({name: name for name in _MEASURES}, "customer_days", days)
    facts = "\n    UNION ALL ".join(
        (
            _part({name: name for name in _CALLS}, "call_volume", days),
            _part({name: name for name in _REPLIES}, "missed_call_replies", days),
            _part(texts, "sms_outcomes", f"{days} AND audience = 'customer'"),
            _part(_USAGE, "spend", f"{days} AND service = 'openai'"),
        )
    )
    sums = ", ".join(f"sum({name}) AS {name}" for name in _MEASURES)
    some = " OR ".join(f"sum({name}) <> 0" for name in _MEASURES)

    def grouped(rows: str) -> str:
        return f"SELECT day, business_id, {sums}\n    FROM ({rows}) AS r\n    GROUP BY day, business_id HAVING {some}"  # noqa: S608 - constant names

    return (
        f"WITH customers AS (\n    {grouped(customers)}\n), facts AS (\n    {grouped(facts)}\n), differing AS (\n"  # noqa: S608 - constant names
        "    SELECT day, business_id FROM (TABLE customers EXCEPT TABLE facts) AS a\n"
        "    UNION SELECT day, business_id FROM (TABLE facts EXCEPT TABLE customers) AS b\n), known AS (\n"
        "    SELECT row_day AS day FROM monitoring.rollup_days\n"
        "    WHERE table_name = 'customer_days' AND rolled_up_at IS NOT NULL\n)\n"
    )


def differing_sums(connection: Connection, days: DayRange) -> dict[date, tuple[int, int]]:
    """Return, by day, how many businesses have other sums over their customers than in the facts, and how many any."""
    found = connection.execute(
        text(
            f"{_compared('day BETWEEN :first AND :last')}"  # noqa: S608 - constant names
            "SELECT f.day, count(d.day), count(*)\nFROM (SELECT day, business_id FROM facts\n"
            "      UNION SELECT day, business_id FROM customers) AS f\nJOIN known USING (day)\n"
            "LEFT JOIN differing AS d ON d.day = f.day AND d.business_id IS NOT DISTINCT FROM f.business_id\n"
            "GROUP BY f.day"
        ),
        {"first": days.first, "last": days.last},
    )
    return {day: (part, whole) for day, part, whole in found}


def rows_of_differing_sums(days: Iterable[date], _zone: ZoneInfo) -> str:
    """Return the SQL of both sums of each business where they differ."""
    values = ", ".join(_MEASURES)
    return (
        f"{_compared(on_days('day', days))}"  # noqa: S608 - constant names
        f"SELECT d.day, b.name AS business, d.business_id, s.counted, {', '.join(f's.{name}' for name in _MEASURES)}\n"
        "FROM differing AS d JOIN known USING (day)\n"
        f"JOIN (SELECT 'over customers' AS counted, day, business_id, {values} FROM customers\n"
        f"      UNION ALL SELECT 'by the facts', day, business_id, {values} FROM facts) AS s\n"
        "    ON s.day = d.day AND s.business_id IS NOT DISTINCT FROM d.business_id\n"
        "LEFT JOIN monitoring.businesses AS b ON b.id = d.business_id\n"
        "ORDER BY d.day, d.business_id, s.counted"
    )
