"""Which series are looked at: what each counts, what it is expected from, and when it matters. Pure."""

from dataclasses import dataclass
from typing import Literal

Shape = Literal["count", "rate", "amount"]
"""A count has a level of its own; a rate is k of n; an amount is so much for each of n."""


@dataclass(frozen=True)
class SeriesKind:
    """A metric of which every business and the platform has a series.

    Attributes:
        name: Its name in tables and commands.
        shape: How it is expected: see ``Shape``.
        part: Column of ``daily_stats``: what is counted.
        words: What was counted, after a number: such as ``texts sent``; for a rate, what it is out of.
        whole: Columns whose sum it is out of, for a rate or an amount; none for a count.
        unknown: Columns of what could still be among the whole; with too many of them a day is not known.
        told_by: Metrics of alert rules that tell of the same.
        least: Smallest difference from what was expected that matters, in the unit of the part; of money a setting
            says it.
        verb: What the part of a rate has done: such as ``failed``.
        is_money: Whether the part is US dollars.
        two_sided: Whether too few is unusual, too.
    """

    name: str
    shape: Shape
    part: str
    words: str
    whole: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    told_by: tuple[str, ...] = ()
    least: float = 3.0
    verb: str = ""
    is_money: bool = False
    two_sided: bool = False

    @property
    def threshold(self) -> float:
        """Largest calibrated tail probability at which a day is unusual; chosen by the figures of docs/anomalies.md."""
        return {"count": 2.5e-5, "rate": 2.5e-3, "amount": 1e-4}[self.shape]


_DECIDED, _KNOWN_REPLIES = (
    ("sms_success_count", "sms_failure_count"),
    ("missed_calls_replied", "missed_calls_unreplied"),
)
_UNDECIDED = ("sms_in_flight_count", "sms_unknown_count")
_SILENT, _REQUESTS = ("event_silence",), ("openai_requests",)
_FAILED = ("sms_failure_rate", "sms_filtered_rate", "registration_errors", "account_errors", "unmapped_errors")
_SPENT = ("openai_spend", "openai_budget")

SERIES_KINDS: dict[str, SeriesKind] = {
    kind.name: kind
    for kind in (
        SeriesKind("texts_sent", "count", "messages_sent", "texts sent", told_by=_SILENT, two_sided=True),
        SeriesKind("texts_failed", "rate", "sms_failure_count", "texts", _DECIDED, _UNDECIDED, _FAILED, verb="failed"),
        SeriesKind("calls", "count", "calls_total", "calls", told_by=_SILENT, two_sided=True),
        SeriesKind("calls_missed", "count", "calls_missed", "missed calls", told_by=_SILENT, two_sided=True),
        SeriesKind(
            "calls_unanswered",
            "rate",
            "missed_calls_unreplied",
            "missed calls",
            _KNOWN_REPLIES,
            ("missed_calls_reply_unknown",),
            ("missed_calls_unanswered",),
            verb="got no text",
        ),
        SeriesKind("texts_received", "count", "messages_received", "texts received", told_by=_SILENT, two_sided=True),
        SeriesKind("openai_requests", "count", "openai_requests", "OpenAI requests", told_by=_SPENT, two_sided=True),
        SeriesKind("openai_tokens", "amount", "openai_tokens_used", "OpenAI tokens", _REQUESTS, told_by=_SPENT),
        SeriesKind(
            "openai_cost",
            "amount",
            "openai_cost_estimate",
            "for OpenAI",
            _REQUESTS,
            told_by=_SPENT,
            is_money=True,
        ),
    )
}
"""By name, in the order in which they are told."""

COLUMNS = tuple(
    dict.fromkeys(column for kind in SERIES_KINDS.values() for column in (kind.part, *kind.whole, *kind.unknown))
)
"""Columns of ``daily_stats`` that any of them reads."""
