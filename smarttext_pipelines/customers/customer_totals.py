"""Customers of a business over some days, by key: who was never answered, and who burns tokens."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import InputError

HEAVY_TOKENS, HEAVY_PERCENT = 10_000, Decimal(25)
"""Tokens of a customer in the days, and their share of all of the business, from which use is heavy."""

SHORT_KEY = 12
"""Digits of a key that are shown, and that are enough to find it by."""

_COLUMNS = {
    "calls": "calls_total", "missed": "calls_missed", "in_time": "replied_in_time_count", "late": "replied_late_count",
    "never": "unreplied_count", "unknown": "reply_unknown_count", "received": "messages_received",
    "sent": "messages_sent", "successful": "sms_success_count", "failed": "sms_failure_count",
    "requests": "openai_requests", "tokens": "openai_tokens_used",
}  # fmt: skip


def sums_of(names: Iterable[str]) -> str:
    """Return the sums, over rows of ``customer_days``, of counts by their names in ``Counts``."""
    return ", ".join(f"sum({_COLUMNS[name]})::bigint AS {name}" for name in names)


_SUMS = sums_of(_COLUMNS) + ", sum(openai_cost_estimate) AS cost_usd, min(day) AS first_day, max(day) AS last_day"
_IS_CUSTOMER = """customer_key BETWEEN :key AND :key || 'g' AND starts_with(customer_key, :key)
            AND day BETWEEN :first AND :last AND (CAST(:business AS uuid) IS NULL OR business_id = :business)"""
_OF_BUSINESS = text(
    f"""
    WITH found AS (
        SELECT customer_key, {_SUMS} FROM monitoring.customer_days
        WHERE business_id = :business AND day BETWEEN :first AND :last GROUP BY customer_key
    ), shared AS (
        SELECT *, round(100.0 * tokens / nullif(sum(tokens) OVER (), 0), 2) AS percent_of_tokens FROM found
    ), judged AS (
        SELECT *, never > 0 AND in_time + late + successful = 0 AS is_never_answered,
               coalesce(tokens >= :heavy AND percent_of_tokens >= :percent, false) AS is_heavy
        FROM shared WHERE customer_key IS NOT NULL
    )
    SELECT CAST(:business AS uuid) AS business_id, NULL AS business, j.* FROM judged AS j
    WHERE CASE :kind WHEN 'unanswered' THEN is_never_answered WHEN 'heavy' THEN is_heavy ELSE true END
        AND (CAST(:keys AS text[]) IS NULL OR customer_key = ANY (:keys))
    ORDER BY is_never_answered DESC, never DESC, is_heavy DESC, tokens DESC, last_day DESC, customer_key LIMIT :most
    """  # noqa: S608 - a constant
)
_OF_CUSTOMER = text(
    f"""
    SELECT d.*, b.name AS business, NULL AS percent_of_tokens,
           never > 0 AND in_time + late + successful = 0 AS is_never_answered, false AS is_heavy
    FROM (
        SELECT business_id, customer_key, {_SUMS} FROM monitoring.customer_days
        WHERE {_IS_CUSTOMER} GROUP BY business_id, customer_key
    ) AS d LEFT JOIN monitoring.business_names AS b ON b.id = d.business_id
    ORDER BY last_day DESC, b.name, d.business_id
    """  # noqa: S608 - a constant
)
_DAYS_OF_CUSTOMER = text(
    f"""
    SELECT d.day, d.business_id, b.name AS business, d.openai_cost_estimate AS cost_usd,
           {", ".join(f"d.{column} AS {name}" for name, column in _COLUMNS.items())}
    FROM monitoring.customer_days AS d LEFT JOIN monitoring.business_names AS b ON b.id = d.business_id
    WHERE {_IS_CUSTOMER} ORDER BY d.day, b.name, d.business_id
    """  # noqa: S608 - a constant
)


class Kind(StrEnum):
    """Which customers are listed."""

    all = "all"
    unanswered = "unanswered"
    heavy = "heavy"


@dataclass(frozen=True)
class Suppressed:
    """Why not to text a customer, or that texts were sent in spite of an opt-out; see ``suppressions.Suppression``."""

    business_id: UUID | None
    verdict: str
    since: datetime | None
    reason: str
    sent_in_spite: int


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a customer did, and what was done for them.

    Attributes:
        business_id: Business; None for what names none.
        business: Its name, where several are listed.
        calls: Calls; ``missed`` of them were missed, and answered ``in_time``, ``late``, ``never`` or ``unknown``.
        received: Texts from the customer.
        sent: Texts to the customer, ``successful`` and ``failed`` among them.
        requests: OpenAI requests that the customer's texts caused, with their ``tokens`` and ``cost_usd``.
    """

    business_id: UUID | None
    business: str | None
    calls: int
    missed: int
    in_time: int
    late: int
    never: int
    unknown: int
    received: int
    sent: int
    successful: int
    failed: int
    requests: int
    tokens: int
    cost_usd: Decimal


@dataclass(frozen=True, kw_only=True)
class CustomerDay(Counts):
    """What a customer did with a business on a day."""

    day: date


@dataclass(frozen=True, kw_only=True)
class Customer(Counts):
    """A customer of a business in some days.

    Attributes:
        customer_key: Key of the number, 64 hexadecimal digits.
        first_day: First day with any of that, and ``last_day`` the last one.
        percent_of_tokens: Share of the business's tokens in the days; None where it has none.
        is_never_answered: Missed calls got no answer, and no text arrived.
        is_heavy: At least ``HEAVY_TOKENS`` tokens and ``HEAVY_PERCENT`` of the business's.
        number: Number, masked; None where it is not known.
        suppressed: Why not to text the customer, the gravest first; None where that is not known.
    """

    customer_key: str
    first_day: date
    last_day: date
    percent_of_tokens: Decimal | None
    is_never_answered: bool
    is_heavy: bool
    number: str | None = None
    suppressed: Sequence[Suppressed] | None = None

    @property
    def verdict(self) -> str | None:
        """What ``check_sms_recipient`` says at worst; None where that is not known."""
        if self.suppressed is None:
            return None
        return next((each.verdict for each in self.suppressed), "allowed")

    @property
    def since(self) -> datetime | None:
        """Since when the verdict is so; None where it is ``allowed``, or nobody knows."""
        return self.suppressed[0].since if self.suppressed and self.verdict != "allowed" else None

    @property
    def sent_in_spite(self) -> int | None:
        """Texts that were attempted in spite of an opt-out; None where that is not known."""
        return None if self.suppressed is None else sum(each.sent_in_spite for each in self.suppressed)

    @property
    def next_step(self) -> str:
        """What to do about the customer; empty for nothing."""
        do_not_text = self.verdict in ("opted_out", "invalid_number")
        if self.is_never_answered:
            return "call back, do not text" if do_not_text else "call back"
        if do_not_text:
            return "do not text"
        return "look at the prompts" if self.is_heavy else ""


def customers_of(
    connection: Connection,
    business: UUID,
    days: DayRange,
    kind: Kind = Kind.all,
    most: int = 100,
    keys: Collection[str] | None = None,
) -> Sequence[Customer]:
    """Return the customers of a business, those who need a human first, in one statement.

    Args:
        connection: A connection to the event database.
        business: The business.
        days: The days.
        kind: Which of them.
        most: How many at most.
        keys: Only these; who opted out is known from events (``contacts``), not from days.
    """
    values: dict[str, Any] = {
        "business": business, "first": days.first, "last": days.last, "kind": kind.value, "most": most,
        "heavy": HEAVY_TOKENS, "percent": HEAVY_PERCENT, "keys": None if keys is None else list(keys),
    }  # fmt: skip
    return [Customer(**row) for row in connection.execute(_OF_BUSINESS, values).mappings()]


def days_of(connection: Connection, key: str, days: DayRange, business: UUID | None = None) -> Sequence[CustomerDay]:
    """Return what a customer did by day and business, the oldest first; see ``find_customer``."""
    values = {"key": key, "first": days.first, "last": days.last, "business": business}
    return [CustomerDay(**row) for row in connection.execute(_DAYS_OF_CUSTOMER, values).mappings()]


def find_customer(connection: Connection, key: str, days: DayRange, business: UUID | None = None) -> Sequence[Customer]:
    """Return what a customer did, by business; raise InputError where the digits are those of several keys.

    Args:
        connection: A connection to the event database.
        key: A key, or its first ``SHORT_KEY`` digits or more.
        days: The days.
        business: Only what concerns this one.
    """
    values = {"key": key, "first": days.first, "last": days.last, "business": business}
    found = [Customer(**row) for row in connection.execute(_OF_CUSTOMER, values).mappings()]
    if len({each.customer_key for each in found}) > 1:
        msg = f"several keys begin with {key}; write more of it"
        raise InputError(msg)
    return found
