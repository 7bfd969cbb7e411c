"""Missed calls whose caller got no text."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from smarttext_pipelines.alerting.metrics.alert_metric import AlertMetric

if TYPE_CHECKING:
    from smarttext_pipelines.alerting.measuring.now import Now
    from smarttext_pipelines.alerting.rules.rule import Rule


def _measure(now: "Now", rules: "Sequence[Rule]") -> None:
    import ibis

    from smarttext_pipelines.metrics import replies

    short, long = now.windows(rules)
    parts = []
    for minutes in short or [60]:
        calls = replies.replied_calls(now.engine.tables, now.window(timedelta(minutes=minutes)))
        counted = calls.group_by("business").agg(
            unreplied=calls.count(where=calls.state == "never"), missed=calls.count()
        )
        parts.append(counted.mutate(minutes=ibis.literal(minutes, type="int32")))
    now.stage(parts, "alert_missed_calls")
    now.run("missed_calls", {"today": now.today, "long": long})


METRICS = (
    AlertMetric(
        "missed_calls_unanswered",
        "count",
        ("business",),
        "missed calls got no text",
        _measure,
        "(you): let the owner call back (`smarttext explain` names the calls), then see whether"
        " the application runs and its number may send.",
        groups_by_key=True,
        absent_is_zero=True,
    ),
)
