"""Days of Twilio's bill that our rows do not explain, and the SQL of the rows that exist."""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal

from smarttext_pipelines.core.statuses import INBOUND_STATUSES, PLACEHOLDER_SIDS
from smarttext_pipelines.database.findings import MAX_ROWS, Finding, at_times, texts
from smarttext_pipelines.twilio.append import PRICED_ENDPOINT, PRICED_SERVICE
from smarttext_pipelines.twilio.usage_records import GMT, UsageDay

_SENT = """\
SELECT {columns}
FROM (
    SELECT message_sid AS sid, min(created_at) AS first_at, count(*) AS rows
    FROM monitoring.sms_events
    WHERE {times}
        AND message_sid NOT IN ({none})
    GROUP BY message_sid HAVING NOT coalesce(bool_or(lower(status) IN ({inbound})), false)
) AS t"""
_RECEIVED = """\
SELECT 'received' AS kind, (min(ts) AT TIME ZONE 'UTC')::date AS day, call_sid AS sid, min(ts) AS first_at,
       count(*) AS rows
FROM monitoring.call_events
WHERE {times} AND event_type = 'sms.inbound'
GROUP BY call_sid"""
_PRICE = """\
LEFT JOIN monitoring.api_usage AS p
    ON p.id = md5('twilio-price:' || t.sid)::uuid AND p.service = '{service}' AND p.endpoint = '{endpoint}'
WHERE p.cost_estimate IS NULL"""


def texts_finding(days: Sequence[UsageDay]) -> Finding | None:
    """Return the days on which Twilio counts other texts than ours; None when there are none."""
    wrong = [each for each in days if not each.are_texts_explained]
    if not wrong:
        return None
    worst = max(wrong, key=lambda each: abs(each.unexplained_texts) + abs(each.unexplained_inbound))
    said = (
        f"{worst.unexplained_texts:,} of {worst.twilio_texts:,} texts sent and {worst.unexplained_inbound:,} of "
        f"{worst.twilio_inbound:,} received on {worst.day} (GMT) were recorded by nobody{_others(wrong, days)}"
    )
    rows = [{"day": each.day, "sent": each.unexplained_texts, "received": each.unexplained_inbound} for each in wrong]
    return Finding(said, rows[:MAX_ROWS], _recorded([each.day for each in wrong]))


def cost_finding(days: Sequence[UsageDay]) -> Finding | None:
    """Return the days on which Twilio charges more than our prices say; None when there are none."""
    wrong = [each for each in days if not each.is_cost_explained]
    if not wrong:
        return None
    worst = max(wrong, key=lambda each: abs(each.unexplained_usd or Decimal(0)))
    said = (
        f"{worst.unexplained_usd:,} of {worst.twilio_usd:,} USD for the texts of {worst.day} (GMT) are in no price; "
        f"{worst.unpriced_texts:,} of {worst.our_texts:,} texts have none{_others(wrong, days)}"
    )
    rows = [
        {"day": each.day, "usd": each.unexplained_usd, "texts_without_price": each.unpriced_texts} for each in wrong
    ]
    return Finding(said, rows[:MAX_ROWS], _unpriced([each.day for each in wrong]))


def _others(wrong: Sequence[UsageDay], days: Sequence[UsageDay]) -> str:
    return f"; {len(wrong)} of {len(days)} days differ" if len(days) > 1 else ""


def _sent(columns: str, days: Iterable[date]) -> str:
    none, inbound = texts("", *PLACEHOLDER_SIDS), texts(*INBOUND_STATUSES)
    return _SENT.format(columns=columns, times=at_times("created_at", days, GMT), none=none, inbound=inbound)


def _recorded(days: Sequence[date]) -> str:
    columns = "'sent' AS kind, (t.first_at AT TIME ZONE 'UTC')::date AS day, t.sid, t.first_at, t.rows"
    received = _RECEIVED.format(times=at_times("ts", days, GMT))
    return f"{_sent(columns, days)}\nUNION ALL\n{received}\nORDER BY day, kind, first_at"


def _unpriced(days: Sequence[date]) -> str:
    columns = "(t.first_at AT TIME ZONE 'UTC')::date AS day, t.sid, t.first_at"
    price = _PRICE.format(service=PRICED_SERVICE, endpoint=PRICED_ENDPOINT)
    return f"{_sent(columns, days)}\n{price}\nORDER BY t.first_at, t.sid"
