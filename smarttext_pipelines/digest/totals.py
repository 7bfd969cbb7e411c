"""What happened in some days, summed over businesses: the numbers of ``stats``, the digest and the dashboard alike."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.core.rates import COVERAGE_FLOOR_PERCENT, percent


@dataclass(frozen=True)
class Totals:
    """Sums of one day or of several; None is unknown, never zero.

    Attributes:
        calls: Calls.
        missed: Missed calls.
        in_time: Of these, answered by a text in time; None where the replies of a day were not computed.
        late: Answered later.
        never: Not answered.
        unknown: Not known.
        received: Texts from callers.
        texts: Texts attempted, suppressed ones included.
        suppressed: Texts that were not sent: rate limited, skipped, canceled.
        delivered: Texts that arrived.
        ok: Texts that count as successful.
        failed: Texts that failed.
        tokens: OpenAI tokens.
        openai_usd: Recorded cost of OpenAI.
        texts_usd: Recorded price of texts; None where no text has one.
        fees_usd: Carriers' fees that were recorded apart from the price; None where none were.
    """

    calls: int = 0
    missed: int = 0
    in_time: int | None = None
    late: int | None = None
    never: int | None = None
    unknown: int | None = None
    received: int = 0
    texts: int = 0
    suppressed: int | None = 0
    delivered: int | None = 0
    ok: int = 0
    failed: int = 0
    tokens: int = 0
    openai_usd: Decimal = Decimal(0)
    texts_usd: Decimal | None = None
    fees_usd: Decimal | None = None

    @property
    def decided(self) -> int:
        """Texts that were successful or failed: what the failure rate is a share of."""
        return self.ok + self.failed

    @property
    def attempted(self) -> int | None:
        """Texts without the suppressed ones: what the known share is a share of."""
        return None if self.suppressed is None else self.texts - self.suppressed

    @property
    def known_percent(self) -> Decimal | None:
        """Share of the attempted texts whose outcome is final."""
        if self.delivered is None or self.attempted is None:
            return None
        return percent(self.delivered + self.failed, self.attempted)

    @property
    def failed_percent(self) -> Decimal | None:
        """Share of the decided texts that failed; None where too few outcomes are known to say so."""
        known = self.known_percent
        is_known = known is not None and known >= COVERAGE_FLOOR_PERCENT
        return percent(self.failed, self.decided) if is_known else None

    @property
    def in_time_percent(self) -> Decimal | None:
        """Share of the missed calls that were answered in time."""
        return None if self.in_time is None else percent(self.in_time, self.missed)

    @property
    def events(self) -> int:
        """Calls and texts in either direction."""
        return self.calls + self.received + self.texts


_TOTALS = """
    SELECT d.day AS key, coalesce(s.calls, 0) AS calls, coalesce(s.missed, 0) AS missed,
           CASE WHEN r.known = coalesce(s.missed, 0) THEN r.in_time END AS in_time,
           CASE WHEN r.known = coalesce(s.missed, 0) THEN r.late END AS late,
           CASE WHEN r.known = coalesce(s.missed, 0) THEN r.never END AS never,
           CASE WHEN r.known = coalesce(s.missed, 0) THEN r.unknown END AS unknown,
           coalesce(s.received, 0) AS received, coalesce(s.texts, 0) AS texts,
           CASE WHEN s.is_old THEN NULL ELSE coalesce(s.suppressed, 0) END AS suppressed,
           CASE WHEN s.is_old THEN NULL ELSE coalesce(s.delivered, 0) END AS delivered,
           coalesce(s.ok, 0) AS ok, coalesce(s.failed, 0) AS failed, coalesce(s.tokens, 0) AS tokens,
           coalesce(s.openai_usd, 0) AS openai_usd, c.texts_usd, c.fees_usd
    FROM unnest(CAST(:days AS date[])) AS d (day)
    LEFT JOIN (
        SELECT date, sum(calls_total)::bigint AS calls, sum(calls_missed)::bigint AS missed,
               sum(messages_received)::bigint AS received, sum(messages_sent)::bigint AS texts,
               sum(sms_suppressed_count)::bigint AS suppressed, sum(sms_delivered_count)::bigint AS delivered,
               -- Rows of the old cron script do not say it.
               bool_or(sms_suppressed_count IS NULL OR sms_delivered_count IS NULL) AS is_old,
               sum(sms_success_count)::bigint AS ok, sum(sms_failure_count)::bigint AS failed,
               sum(openai_tokens_used)::bigint AS tokens, sum(openai_cost_estimate) AS openai_usd
        FROM {stats} WHERE date = ANY (CAST(:days AS date[])) {business} GROUP BY date
    ) AS s ON s.date = d.day
    LEFT JOIN LATERAL (
        SELECT coalesce(sum(replied_in_time_count), 0)::bigint AS in_time,
               coalesce(sum(replied_late_count), 0)::bigint AS late,
               coalesce(sum(unreplied_count), 0)::bigint AS never,
               coalesce(sum(reply_unknown_count), 0)::bigint AS unknown,
               coalesce(sum(replied_in_time_count + replied_late_count + unreplied_count + reply_unknown_count), 0)
                   AS known
        FROM {replies} WHERE day = d.day {business}) AS r ON true
    LEFT JOIN LATERAL (
        SELECT sum(cost_usd) FILTER (WHERE endpoint NOT LIKE '%fee%') AS texts_usd,
               sum(cost_usd) FILTER (WHERE endpoint LIKE '%fee%') AS fees_usd
        FROM {spend} WHERE day = d.day AND service = 'twilio' {business}) AS c ON true
    WHERE s.date IS NOT NULL OR EXISTS (
        SELECT FROM monitoring.rollup_days AS c
        WHERE c.table_name = 'daily_stats' AND c.row_day = d.day AND c.checked_at IS NOT NULL)
    ORDER BY d.day
"""


@dataclass(frozen=True)
class Source:
    """The tables that totals are read from, as SQL names them."""

    stats: str = "public.daily_stats"
    replies: str = "monitoring.missed_call_replies"
    spend: str = "monitoring.spend"


RECORDED = Source()
_ADDED = (
    "calls", "missed", "in_time", "late", "never", "unknown", "received", "texts", "suppressed", "delivered", "ok",
    "failed", "tokens", "openai_usd",
)  # fmt: skip


def read_totals(
    connection: Connection,
    days: Iterable[date],
    *,
    business: UUID | None = None,
    unattributed: bool = False,
    source: Source = RECORDED,
) -> Mapping[date, Totals]:
    """Return the totals of each day that was rolled up or has numbers of the old cron script, in order.

    Args:
        connection: A connection to the event database.
        days: The days.
        business: Only this business; all by default.
        unattributed: Only what has no business.
        source: Where they are; what the rollup wrote by default.
    """
    of = "AND business_id IS NULL" if unattributed else "AND business_id = :business" if business else ""
    values = {"days": list(days), **({"business": business} if business and not unattributed else {})}
    statement = _TOTALS.format(business=of, stats=source.stats, replies=source.replies, spend=source.spend)
    rows = connection.execute(text(statement), values).mappings()
    return {row["key"]: Totals(**{name: row[name] for name in row if name != "key"}) for row in rows}


def summed(totals: Sequence[Totals]) -> Totals:
    """Return the totals of several days; what is unknown of one of them is unknown of all, prices apart."""
    added: dict[str, Any] = {}
    for name in _ADDED:
        values = [getattr(each, name) for each in totals]
        added[name] = None if None in values else sum(values, start=Decimal(0) if name == "openai_usd" else 0)
    for name in ("texts_usd", "fees_usd"):
        known = [value for each in totals if (value := getattr(each, name)) is not None]
        added[name] = sum(known, start=Decimal(0)) if known else None
    return Totals(**added)
