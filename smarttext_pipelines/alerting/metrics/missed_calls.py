"""Missed calls whose caller got no text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smarttext_pipelines.alerting.metrics.alert_metric import AlertMetric

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from smarttext_pipelines.alerting.measuring.now import Now
    from smarttext_pipelines.alerting.rules.rule import Rule
    from smarttext_pipelines.alerting.rules.span import Span
    from smarttext_pipelines.metrics.metric import RecentWindow
    from smarttext_pipelines.metrics.windowed import Tables


def _counted(tables: "Tables", window: "RecentWindow") -> "ir.Table":
    from smarttext_pipelines.metrics import replies

    calls = replies.replied_calls(tables, window)
    is_counted = calls.state == "never"
    return calls.group_by("business").agg(
        unreplied=calls.count(where=is_counted),
        missed=calls.count(),
        first_at=calls.missed_at.min(where=is_counted),
        last_at=calls.missed_at.max(where=is_counted),
    )


def _measure(now: "Now", rules: "Sequence[Rule]") -> None:
    short, long = now.windows(rules)
    now.stage_each(_counted, short or [60], "alert_missed_calls")
    now.run("missed_calls", {"today": now.today, "long": long})


def _rows(now: "Now", _: AlertMetric, span: "Span") -> Sequence[dict[str, Any]]:
    from smarttext_pipelines.core.phones import mask_phone
    from smarttext_pipelines.metrics import replies

    calls = replies.replied_calls(now.engine.tables, now.window(span.end_at - span.start_at))
    wanted = calls.filter(calls.state == "never", calls.business == str(span.business_id)).order_by("missed_at", "key")
    return [
        {
            "at": row["missed_at"],
            "call": row["key"][2:] if row["key"].startswith("cs") else "(no sid)",
            "caller": mask_phone(row["caller"]),
            "state": "got no text",
        }
        for row in now.engine.fetch(wanted)
    ]


METRICS = (
    AlertMetric(
        "missed_calls_unanswered",
        "count",
        ("business",),
        "missed calls",
        _measure,
        "got no text",
        "let the owner call back, then see whether the application runs and its number may send.",
        rows=_rows,
        events="calls",
        groups_by_key=True,
        absent_is_zero=True,
    ),
)
