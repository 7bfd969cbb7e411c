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
        part: Expression over the columns of ``daily_stats`` (``s``): what is counted.
        whole: Expression of what it is out of, for a rate or an amount; empty for a count.
        covered: Condition under which the numbers of a business and day are known well enough; empty for always.
        words: What was counted, after a number: such as ``texts sent``.
        least: Smallest difference from what was expected that matters, in the unit of the part.
        is_money: Whether the part is US dollars.
        two_sided: Whether too few is unusual, too.
    """

    name: str
    shape: Shape
    part: str
    words: str
    whole: str = ""
    covered: str = ""
    least: float = 3.0
    is_money: bool = False
    two_sided: bool = False

    @property
    def threshold(self) -> float:
        """Largest calibrated tail probability at which a day is unusual: about 0.25 false alarms a series and year."""
        return {"count": 2e-4, "rate": 3e-3, "amount": 1e-3}[self.shape]


_DECIDED = "s.sms_success_count + s.sms_failure_count"
_OUTCOMES_KNOWN = (
    "s.sms_success_count + s.sms_failure_count >= 0.8 * (s.messages_sent - coalesce(s.sms_suppressed_count, 0))"
)
_KNOWN_REPLIES = "s.missed_calls_replied + s.missed_calls_unreplied"

SERIES_KINDS: dict[str, SeriesKind] = {
    kind.name: kind
    for kind in (
        SeriesKind("texts_sent", "count", "s.messages_sent", "texts sent", two_sided=True),
        SeriesKind("texts_failed", "rate", "s.sms_failure_count", "texts failed", _DECIDED, _OUTCOMES_KNOWN),
        SeriesKind("calls", "count", "s.calls_total", "calls", two_sided=True),
        SeriesKind("calls_missed", "count", "s.calls_missed", "missed calls", two_sided=True),
        SeriesKind("calls_unanswered", "rate", "s.missed_calls_unreplied", "missed calls got no text", _KNOWN_REPLIES),
        SeriesKind("texts_received", "count", "s.messages_received", "texts received", two_sided=True),
        SeriesKind("openai_requests", "count", "s.openai_requests", "OpenAI requests", two_sided=True),
        SeriesKind("openai_tokens", "amount", "s.openai_tokens_used", "OpenAI tokens", "s.openai_requests"),
        SeriesKind("openai_cost", "amount", "s.openai_cost_estimate", "for OpenAI", "s.openai_requests", is_money=True),
    )
}
"""By name, in the order in which they are told."""
