"""What fired for a business in a month, in words for somebody who never saw a rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.alerting.notify.sentences import lasting
from smarttext_pipelines.core.days import DayRange, day_end, day_start
from smarttext_pipelines.core.display import shown

MOST = 6
"""Incidents that are told one by one."""

_FIRED = text(
    """
    SELECT id, rule, severity, fired_at, resolved_at, reason, peak, told IS NOT NULL AS is_told,
           acknowledged_by IS NOT NULL AS is_taken, count(*) OVER () AS fired
    FROM monitoring.incidents
    WHERE scope = :scope AND fired_at < :end AND (resolved_at IS NULL OR resolved_at >= :start)
    ORDER BY array_position(ARRAY['critical', 'warning', 'info'], severity), fired_at, id LIMIT :most
    """
)

_WORDS = {
    "sms_failure_rate": ("Too many texts failed", "at worst {:.1f} % of them"),
    "sms_filtered_rate": ("Carriers held texts back because of what they say", "at worst {:.1f} % of them"),
    "registration_errors": ("Carriers refused texts because the sending number is not registered", ""),
    "openai_budget": ("The day’s OpenAI budget was nearly or wholly used", "at worst {:.0f} % of it"),
    "openai_spend": ("OpenAI cost much more than usual", "at worst {:.1f} times as much"),
    "owner_alerts_failed_rate": ("Alerts to you were not sent", "at worst {:.1f} % of them"),
    "missed_calls_unanswered": ("Callers were left without a text", "at worst {:.0f} of them at a time"),
    "event_silence": ("Far fewer calls and texts arrived than usual", ""),
    "anomalies": ("A number of the day was unusual", ""),
}
"""Metric → what a breach of it means, and how its worst value is said; empty where that says nothing more."""

_REASONS = {"recovered": "it is well again", "window rolled": "nothing more of it was seen"}


@dataclass(frozen=True)
class MonthIncident:
    """One incident of a month; ``resolved_at`` is None while it is open."""

    id: int
    rule: str
    severity: str
    fired_at: datetime
    resolved_at: datetime | None
    reason: str | None
    peak: Decimal | None
    is_told: bool
    is_taken: bool

    def what(self, metrics: Mapping[str, str]) -> str:
        """Return what was wrong, with the worst value where that says more.

        Args:
            metrics: What each rule watches.
        """
        words, worst = _WORDS.get(metrics.get(self.rule, ""), (f"The rule {shown(self.rule, 60)} was in breach", ""))
        return words if self.peak is None or not worst else f"{words}, {worst.format(self.peak)}"

    @property
    def done(self) -> str:
        """What was done about it, and how it ended; only what is recorded."""
        said = ["SmartText was notified" if self.is_told else "nobody was notified"]
        said += ["somebody there took it on"] if self.is_taken else []
        if self.resolved_at is None:
            return "; ".join([*said, "not over when this was written"])
        why = _REASONS.get(self.reason or "", shown(self.reason or "", 80))
        said.append(f"over after {lasting(self.resolved_at - self.fired_at)}{f': {why}' if why else ''}")
        return "; ".join(said)


@dataclass(frozen=True)
class MonthIncidents:
    """The most severe incidents of a month, and how many there were."""

    told: Sequence[MonthIncident] = ()
    fired: int = 0


def read_incidents(connection: Connection, business: UUID, days: DayRange, zone: ZoneInfo) -> MonthIncidents:
    """Return what was firing for a business on some days, the most severe first."""
    values = {
        "scope": f"business:{business}",
        "start": day_start(days.first, zone),
        "end": day_end(days.last, zone),
        "most": MOST,
    }
    rows = connection.execute(_FIRED, values).mappings().all()
    told = [MonthIncident(**{name: row[name] for name in row if name != "fired"}) for row in rows]
    return MonthIncidents(told, rows[0]["fired"] if rows else 0)
