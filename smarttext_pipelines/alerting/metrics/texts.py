"""Rates and counts of texts, from one pass over the messages of the short windows and from the daily facts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smarttext_pipelines.alerting.metrics.alert_metric import (
    NO_OUTCOME,
    ONLY_EVENTS,
    AlertMetric,
    ScopeKind,
    count_in_window,
)

if TYPE_CHECKING:
    from smarttext_pipelines.alerting.measuring.now import Now
    from smarttext_pipelines.alerting.rules.rule import Rule
    from smarttext_pipelines.alerting.rules.span import Span

_SCOPES: tuple[ScopeKind, ...] = ("platform", "sender", "business")

FAILED = "m.status_class = 'failed' AND m.class <> ALL (:outside)"
"""A failure of the alerted rate: invalid numbers and opt-outs say nothing about sending."""

DECIDED = f"(m.status_class = 'successful' OR {FAILED})"
_OF_CLASS = "m.status_class = 'failed' AND m.class = '{}'"


def _measure(now: "Now", rules: "Sequence[Rule]") -> None:
    from smarttext_pipelines.alerting.measuring.recent_texts import measure_texts

    measure_texts(now, rules, METRICS)


def _rows(now: "Now", metric: AlertMetric, span: "Span") -> Sequence[dict[str, Any]]:
    from smarttext_pipelines.alerting.measuring.recent_texts import counted_texts

    return counted_texts(now, metric, span)


METRICS = (
    AlertMetric(
        "sms_failure_rate",
        "percent",
        _SCOPES,
        "texts",
        _measure,
        "failed",
        rows=_rows,
        counted=FAILED,
        among=DECIDED,
        is_rate=True,
        family="sms",
        groups_by_key=True,
        quiet=NO_OUTCOME,
        needs_outcomes=True,
    ),
    AlertMetric(
        "sms_filtered_rate",
        "percent",
        _SCOPES,
        "texts",
        _measure,
        "were filtered by carriers",
        rows=_rows,
        counted=_OF_CLASS.format("filtered"),
        among=DECIDED,
        is_rate=True,
        family="sms",
        error_class="filtered",
        groups_by_key=True,
        quiet=NO_OUTCOME,
        needs_outcomes=True,
    ),
    AlertMetric(
        "registration_errors",
        "count",
        _SCOPES,
        "texts",
        _measure,
        "were refused because the sender is not registered",
        rows=_rows,
        counted=_OF_CLASS.format("registration"),
        among="true",
        headline=count_in_window,
        family="sms",
        error_class="registration",
        groups_by_key=True,
        quiet=NO_OUTCOME,
        for_=1,
    ),
    AlertMetric(
        "account_errors",
        "count",
        _SCOPES,
        "texts",
        _measure,
        "were refused because of the Twilio account",
        rows=_rows,
        counted=_OF_CLASS.format("account"),
        among="true",
        headline=count_in_window,
        family="sms",
        error_class="account",
        groups_by_key=True,
        quiet=NO_OUTCOME,
        breaks_twilio=True,
        for_=1,
    ),
    AlertMetric(
        "unmapped_errors",
        "count",
        ("platform",),
        "texts",
        _measure,
        "failed with a code never seen before",
        "look the code up at https://www.twilio.com/docs/api/errors and give it a class in the file that"
        " SMARTTEXT_FAILURE_CODES names.",
        rows=_rows,
        counted=f"{_OF_CLASS.format('unmapped')} AND NOT m.is_known",
        among="true",
        headline=count_in_window,
        groups_by_key=True,
        quiet=NO_OUTCOME,
        for_=1,
    ),
    AlertMetric(
        "sms_in_flight_share",
        "percent",
        _SCOPES,
        "texts",
        _measure,
        "have been in flight for more than 15 minutes",
        "check that delivery reports still arrive, then Twilio's status page.",
        rows=_rows,
        counted="m.status_class = 'in_flight' AND m.is_old",
        among="m.is_old",
        is_rate=True,
        family="reports",
        groups_by_key=True,
        quiet=NO_OUTCOME,
        needs_outcomes=True,
        for_=1,
        **ONLY_EVENTS,
    ),
    AlertMetric(
        "unattributed_share",
        "percent",
        ("platform",),
        "texts",
        _measure,
        "belong to no business",
        "find the sender that writes events without a business; see SMARTTEXT_SHARED_SENDERS.",
        rows=_rows,
        counted="m.business_id IS NULL",
        among="true",
        is_rate=True,
        groups_by_key=True,
        quiet=NO_OUTCOME,
    ),
)
