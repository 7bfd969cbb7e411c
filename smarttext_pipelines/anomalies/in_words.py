"""What was unusual, in words: what was found, and what was to be expected. Pure."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from smarttext_pipelines.anomalies.series_kinds import SERIES_KINDS
from smarttext_pipelines.core.display import shown_name


@dataclass(frozen=True)
class Episode:
    """Days in a row on which a series was unusual, told by the most unusual of them.

    Attributes:
        id: Number of its first day.
        metric: Kind of the series.
        business_id: None for all businesses together.
        business: Name; None for all together, or where it is not known any more.
        side: 1 for too much, −1 for too little.
        first_day: First day that was unusual.
        last_day: Last one.
        day: The most unusual one.
        window_days: Days of its window.
        found: What was counted.
        whole: What it is out of.
        expected: What was to be expected.
        low: Lower end of that.
        high: Upper end.
        nats: How unusual it was.
        verdict: right, wrong, expected, or None.
        said_by: Who said that.
    """

    id: int
    metric: str
    business_id: UUID | None
    business: str | None
    side: int
    first_day: date
    last_day: date
    day: date
    window_days: int
    found: Decimal
    whole: Decimal | None
    expected: Decimal
    low: Decimal
    high: Decimal
    nats: float
    verdict: str | None = None
    said_by: str | None = None

    @property
    def whom(self) -> str:
        """Whose series it is."""
        return "all businesses" if self.business_id is None else shown_name(self.business)


def sentence(each: Episode) -> str:
    """Return ``8 of 30 texts failed (27 %); usually 1.8 %, so 0 to 3 were to be expected``."""
    kind = SERIES_KINDS[each.metric]
    within = f" in {each.window_days} days" if each.window_days > 1 else ""
    if each.first_day != each.last_day:
        within += f" {'to' if within else 'on'} {each.day}"
    whole = Decimal(0) if each.whole is None else each.whole
    if kind.shape == "rate":
        share, usual = _percent(each.found, whole), _percent(each.expected, whole)
        return (
            f"{each.found:,.0f} of {whole:,.0f} {kind.words} {kind.verb}{within} ({share:.0f} %); "
            f"usually {usual:.1f} %, so {each.low:,.0f} to {each.high:,.0f} were to be expected"
        )
    unit, form = (" USD", ",.2f") if kind.is_money else ("", ",.0f")
    of = f" (in {whole:,.0f} requests)" if each.whole is not None else ""
    return (
        f"{each.found:{form}}{unit} {kind.words}{of}{within}; "
        f"{each.low:{form}} to {each.high:{form}}{unit} were to be expected"
    )


def _percent(part: Decimal, whole: Decimal) -> Decimal:
    return 100 * part / whole if whole else Decimal(0)
