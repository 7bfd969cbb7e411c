"""Rates and counts of texts, from one pass over the messages of the short windows and from the daily facts."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from smarttext_pipelines.alerting.metrics.alert_metric import ONLY_EVENTS, AlertMetric, ScopeKind, count_since
from smarttext_pipelines.core.failure_classes import OUTSIDE_THE_RATE
from smarttext_pipelines.core.statuses import FINAL_STATUSES

if TYPE_CHECKING:
    from smarttext_pipelines.alerting.measuring.now import Now
    from smarttext_pipelines.alerting.rules.rule import Rule

_SCOPES: tuple[ScopeKind, ...] = ("platform", "sender", "business")


def _measure(now: "Now", rules: "Sequence[Rule]") -> None:
    from smarttext_pipelines.alerting.measuring.now import stage_messages

    short, long = now.windows(rules)
    stage_messages(now, timedelta(minutes=max(short, default=5)))
    now.connection.exec_driver_sql("ANALYZE alert_messages")
    lists = {"final": list(FINAL_STATUSES), "outside": list(OUTSIDE_THE_RATE)}
    now.run("messages", {"now": now.at, "today": now.today, "short": short, "long": long, **lists})


METRICS = (
    AlertMetric(
        "sms_failure_rate",
        "percent",
        _SCOPES,
        "texts failed",
        _measure,
        is_rate=True,
        family="sms",
        verb=" failed",
        counts_messages=True,
        groups_by_key=True,
        needs_outcomes=True,
    ),
    AlertMetric(
        "sms_filtered_rate",
        "percent",
        _SCOPES,
        "texts filtered",
        _measure,
        is_rate=True,
        family="sms",
        verb=" filtered",
        error_class="filtered",
        counts_messages=True,
        groups_by_key=True,
        needs_outcomes=True,
    ),
    AlertMetric(
        "registration_errors",
        "count",
        _SCOPES,
        "texts refused: sender not registered",
        _measure,
        headline=count_since,
        family="sms",
        error_class="registration",
        counts_messages=True,
        groups_by_key=True,
        for_=1,
    ),
    AlertMetric(
        "account_errors",
        "count",
        _SCOPES,
        "texts refused: account",
        _measure,
        headline=count_since,
        family="sms",
        error_class="account",
        counts_messages=True,
        groups_by_key=True,
        breaks_twilio=True,
        for_=1,
    ),
    AlertMetric(
        "unmapped_errors",
        "count",
        ("platform",),
        "texts failed with a code never seen before",
        _measure,
        "(you): look the code up in Twilio's error dictionary, add it to core/failure_classes.csv.",
        headline=count_since,
        counts_messages=True,
        groups_by_key=True,
        for_=1,
    ),
    AlertMetric(
        "sms_in_flight_share",
        "percent",
        _SCOPES,
        "texts in flight too long",
        _measure,
        "(you): check that delivery reports still arrive, then Twilio's status page.",
        is_rate=True,
        family="reports",
        counts_messages=True,
        groups_by_key=True,
        needs_outcomes=True,
        for_=1,
        **ONLY_EVENTS,
    ),
    AlertMetric(
        "unattributed_share",
        "percent",
        ("platform",),
        "texts belong to no business",
        _measure,
        "(you): find the sender that writes events without a business; see SMARTTEXT_SHARED_SENDERS.",
        is_rate=True,
        counts_messages=True,
        groups_by_key=True,
    ),
)
