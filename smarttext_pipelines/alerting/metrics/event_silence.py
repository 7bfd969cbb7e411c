"""Fewer events than at the same hours of the weeks before."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from smarttext_pipelines.alerting.metrics.alert_metric import ONLY_EVENTS, AlertMetric, Reading
from smarttext_pipelines.core.days import weeks_before

if TYPE_CHECKING:
    from smarttext_pipelines.alerting.measuring.now import Now
    from smarttext_pipelines.alerting.rules.rule import Rule

_WEEKS = 4


def _measure(now: "Now", rules: "Sequence[Rule]") -> None:
    weeks = range(_WEEKS + 1)
    ends = [weeks_before(now.at, week, now.place.zone) for week in weeks]
    for minutes in now.windows(rules)[0]:
        starts = [end - timedelta(minutes=minutes) for end in ends]
        now.run("silence", {"minutes": minutes, "weeks": list(weeks), "starts": starts, "ends": ends})


def _headline(_: AlertMetric, reading: Reading) -> str:
    within = f" in {reading.window}" if reading.window else ""
    usual = f"; at least {reading.whole:.0f} {reading.label}" if reading.label else ""
    return f"{reading.part:.0f} events{within}{usual}"


METRICS = (
    AlertMetric(
        "event_silence",
        "percent",
        ("platform", "business"),
        "events",
        _measure,
        "were recorded",
        "call the business's number; if nothing is recorded, check its webhooks.",
        headline=_headline,
        family="silence",
        # From then on the week before is a week of silence.
        quiet=(timedelta(days=7), "nothing is usual any more after 7 days of silence"),
        **ONLY_EVENTS,
    ),
)
