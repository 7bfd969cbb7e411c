"""Compares Twilio's bill with ours: its usage records by its own days (GMT), and what our rows do not explain.

Twilio counts by itself: these are the only numbers that do not come from what was recorded. The price of a message
includes the carrier's fee, which the usage records list separately: both are added.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, text
from twilio.base.exceptions import TwilioRestException

from smarttext_pipelines.core.days import DayRange, day_end, day_of, day_start
from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.core.statuses import PLACEHOLDER_SIDS
from smarttext_pipelines.twilio.append import CURRENCY, PRICED_ENDPOINT, PRICED_SERVICE
from smarttext_pipelines.twilio.poll import Asker, BudgetSpentError, UsageRecord, as_refused

GMT = ZoneInfo("UTC")
TEXTS, FEES, INBOUND = "sms-outbound", "sms-messages-carrierfees", "sms-inbound"
DAYS = 7
PRICED_AFTER = timedelta(days=4)
"""A price is asked for 72 hours, so the newest day that is compared is four days old."""

LIMIT_PERCENT, MIN_TEXTS, MIN_USD = Decimal(5), Decimal(10), Decimal(1)
"""What may stay unexplained on a day: this share of Twilio's number, or this much."""

_REPORTS_LATE = timedelta(days=5)
_OURS = text(
    """
    WITH texts AS (
        SELECT message_sid AS sid, (min(created_at) AT TIME ZONE 'UTC')::date AS day,
               bool_or(lower(status) IN ('receiving', 'received')) AS is_inbound
        FROM monitoring.sms_events
        WHERE created_at >= :read_from AND created_at < :ends_at
            AND message_sid <> '' AND message_sid <> ALL (:placeholders)
        GROUP BY message_sid
    ), outbound AS (
        SELECT t.day, count(*) AS texts, count(*) FILTER (WHERE p.cost_estimate IS NULL) AS unpriced,
               coalesce(sum(p.cost_estimate) FILTER (WHERE abs(p.cost_estimate) < 1e13), 0) AS usd
        FROM texts AS t
        LEFT JOIN monitoring.api_usage AS p
            ON p.id = md5('twilio-price:' || t.sid)::uuid AND p.service = :service AND p.endpoint = :endpoint
        WHERE NOT coalesce(t.is_inbound, false) GROUP BY t.day
    ), alerts AS (
        SELECT (first_attempt_at AT TIME ZONE 'UTC')::date AS day, count(*) AS texts FROM monitoring.notifications
        WHERE channel = 'twilio_sms' AND provider_id IS NOT NULL
            AND first_attempt_at >= :begins_at AND first_attempt_at < :ends_at GROUP BY 1
    ), inbound AS (
        SELECT (ts AT TIME ZONE 'UTC')::date AS day, count(DISTINCT call_sid) AS texts FROM monitoring.call_events
        WHERE event_type = 'sms.inbound' AND ts >= :begins_at AND ts < :ends_at GROUP BY 1
    )
    SELECT d.day, coalesce(o.texts, 0), coalesce(a.texts, 0), coalesce(o.unpriced, 0), coalesce(o.usd, 0),
           coalesce(i.texts, 0)
    FROM unnest(CAST(:days AS date[])) AS d (day)
    LEFT JOIN outbound AS o USING (day) LEFT JOIN alerts AS a USING (day) LEFT JOIN inbound AS i USING (day)
    WHERE EXISTS (SELECT FROM monitoring.sms_events WHERE created_at < CAST(d.day AS timestamp) AT TIME ZONE 'UTC')
    ORDER BY d.day
    """
)


@dataclass(frozen=True)
class UsageDay:
    """A day of Twilio's (GMT) in its numbers and in ours.

    Attributes:
        day: Day in GMT.
        twilio_texts: Texts sent, as Twilio counts them.
        our_texts: Messages with a sid that the application recorded.
        alert_texts: Alerts of this pipeline that were sent as texts; nobody else records them.
        unpriced_texts: Of ours, those whose price is not known.
        twilio_usd: Cost of the texts with the carriers' fees; None when the account pays in another currency.
        our_usd: Recorded prices of the same texts.
        twilio_inbound: Texts received, as Twilio counts them.
        our_inbound: Texts received, as the application recorded them.
    """

    day: date
    twilio_texts: int
    our_texts: int
    alert_texts: int
    unpriced_texts: int
    twilio_usd: Decimal | None
    our_usd: Decimal
    twilio_inbound: int
    our_inbound: int

    @property
    def unexplained_texts(self) -> int:
        """Texts that Twilio has and nobody recorded; below zero, the other way round."""
        return self.twilio_texts - self.our_texts - self.alert_texts

    @property
    def unexplained_inbound(self) -> int:
        """Texts received that nobody recorded; below zero, the other way round."""
        return self.twilio_inbound - self.our_inbound

    @property
    def unexplained_usd(self) -> Decimal | None:
        """USD that Twilio charges and no price explains; None when Twilio's are not known."""
        return None if self.twilio_usd is None else self.twilio_usd - self.our_usd

    @property
    def are_texts_explained(self) -> bool:
        """Whether what is left of texts, sent and received, is small."""
        sent = _is_small(Decimal(self.unexplained_texts), Decimal(self.twilio_texts), MIN_TEXTS)
        return sent and _is_small(Decimal(self.unexplained_inbound), Decimal(self.twilio_inbound), MIN_TEXTS)

    @property
    def is_cost_explained(self) -> bool:
        """Whether what is left of the cost is small; of an unknown cost nothing is claimed."""
        left = self.unexplained_usd
        return left is None or _is_small(left, self.twilio_usd or Decimal(0), MIN_USD)


def _is_small(left: Decimal, whole: Decimal, minimum: Decimal) -> bool:
    return abs(left) <= max(minimum, whole * LIMIT_PERCENT / 100)


def days_to_compare(now: datetime) -> DayRange:
    """Return the newest week, in GMT, whose prices are no longer asked for."""
    last = day_of(now - PRICED_AFTER, GMT)
    return DayRange(last - timedelta(days=DAYS - 1), last)


def compare_usage(engine: Engine, asker: Asker, days: DayRange) -> list[UsageDay]:
    """Return the days in Twilio's numbers and in ours, from the day of our first row on.

    Args:
        engine: Result of ``open_engine``.
        asker: Calls Twilio.
        days: Days in GMT, all of them live.

    Raises:
        SmartTextError: Twilio refuses or does not answer.
    """
    try:
        answers = {name: asker.usage(name, days.first, days.last) for name in (TEXTS, FEES, INBOUND)}
    except BudgetSpentError as error:
        msg = f"{error}; the next run asks again"
        raise SmartTextError(msg) from None
    except TwilioRestException as error:
        raise as_refused(error) from None
    begins, ends = day_start(days.first, GMT), day_end(days.last, GMT)
    bounds = {"read_from": begins - _REPORTS_LATE, "begins_at": begins, "ends_at": ends, "days": list(days)}
    names = {"service": PRICED_SERVICE, "endpoint": PRICED_ENDPOINT, "placeholders": list(PLACEHOLDER_SIDS)}
    with engine.connect() as connection:
        ours = connection.execute(_OURS, {**bounds, **names}).all()
    found = []
    for day, texts, alerts, unpriced, usd, inbound in ours:
        sent, fees, received = (answers[name].get(day, UsageRecord()) for name in (TEXTS, FEES, INBOUND))
        is_usd = {sent.currency, fees.currency} == {CURRENCY}
        cost = sent.price + fees.price if is_usd else None
        found.append(UsageDay(day, sent.count, texts, alerts, unpriced, cost, usd, received.count, inbound))
    return found
