"""Asset checks: what a rollup asserted, and the shares that tell whether its numbers can be trusted.

A check looks at all days of its run, so it means the same for one day and for a range.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from smarttext_pipelines.core.days import FIRST_DAY, LAST_DAY, DayRange
from smarttext_pipelines.core.errors import AgreementError, RepeatedKeyError
from smarttext_pipelines.core.statuses import MOST_NUMBERS_OF_A_KEY, MOST_ROWS_OF_A_KEY
from smarttext_pipelines.database.findings import Finding
from smarttext_pipelines.defs.evaluations import Check, evaluation, spec

if TYPE_CHECKING:
    from smarttext_pipelines.rollup import RolledUp
    from smarttext_pipelines.rollup.report import Report

AGREES, KEYS, HISTORY = "agrees_with_sources", "one_row_per_key", "history_kept"
UNDATED, REPEATED = "undated_rows", "sids_identify"

CHECKS = {
    AGREES: Check(
        "What was joined and grouped adds up to the sources by day, to the last digit; else nothing is written.",
        "Nothing was written, and the numbers of before stand. Run it again: rows may have changed while they were "
        "read. If it fails again, the metric's definition is at fault: report it with this sentence.",
    ),
    KEYS: Check(
        "One row per business and day, and per dimension of a fact; else nothing is written.",
        "Nothing was written, and the numbers of before stand. The metric's definition is at fault: report it with "
        "this sentence.",
    ),
    HISTORY: Check(
        "No day had to keep older numbers because its events are no longer all there.",
        "The numbers shown are those of before. Where events were deleted by mistake, put them back and roll the days "
        "up; where that was on purpose and the smaller numbers are wanted, use `smarttext rollup --allow-empty`.",
    ),
    UNDATED: Check(
        f"Every row of the source has a time of a day from {FIRST_DAY} to {LAST_DAY}; any other belongs to no day and "
        "is in no number.",
        "Give the rows a time and roll up its days, or let `smarttext retention run --undated` archive and "
        "delete them.",
    ),
    REPEATED: Check(
        f"No sid or request id has more than {MOST_ROWS_OF_A_KEY} rows or {MOST_NUMBERS_OF_A_KEY} numbers on a day, "
        "which no message or call can have.",
        "Such a value is no key: its texts are told apart by request and recipient, else each row counts for itself. "
        "Let the application write Twilio's sid there.",
    ),
    "statuses_known": Check(
        "At most 1 % of a day's messages have a status of no class.",
        "They count as attempts, and in no failure rate. If Twilio's documentation has the status, add it to "
        "core/statuses.py; else correct what writes it.",
    ),
    "error_codes_mapped": Check(
        "No text failed with an error code of no class.",
        "They count as failed, with nobody named who acts. Look the code up in Twilio's error dictionary and add it to "
        "core/failure_classes.csv.",
    ),
    "late_reports": Check(
        "At most 1 % of a day's messages are reports on messages older than the settle window.",
        "Outcomes come later than days are settled, so failure rates of settled days are too low: raise "
        "SMARTTEXT_SETTLE_DAYS.",
    ),
    "coverage": Check(
        "At most 30 % of a settled day's messages have no final outcome.",
        "A failure rate of such a day means little. Set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN, so that Twilio is "
        "asked, or see that its status callbacks are written to sms_events.",
    ),
    "unattributed_share": Check(
        "At most 10 % of a day's events have no business.",
        "They are in the row without business and in nobody's statistics. Look whether a business lacks its number in "
        "businesses, and whether SMARTTEXT_SHARED_SENDERS names numbers that are not shared.",
    ),
    "texts_have_calls": Check(
        "At most 20 % of the businesses that sent texts had neither a call nor an inbound text.",
        "Texts answer calls, so call_events seems to lack rows: look whether the webhook of calls still writes them.",
    ),
    "answers_have_usage": Check(
        "At most 20 % of the businesses that got and sent texts had no OpenAI request.",
        "Answers come from OpenAI, so api_usage seems to lack rows, and budgets count too little: look whether usage "
        "is still recorded.",
    ),
    "delivered_alerts_arrived": Check(
        "At most 5 % of the owner alerts marked as delivered belong to a text that failed.",
        "Owners were not told. `smarttext explain message SID` says why a text failed and who acts.",
    ),
}

SHARES: dict[str, tuple[str, ...]] = {
    "sms_outcomes": ("statuses_known", "error_codes_mapped", "late_reports"),
    "sms_failure_rates": ("coverage",),
    "daily_stats": ("unattributed_share", "texts_have_calls", "answers_have_usage"),
    "owner_alert_delivery": ("delivered_alerts_arrived",),
}
"""Names of the share checks of each asset; ``rollup.quality`` says what they are."""

_WITH_KEYS = ("sms_outcomes", "call_volume")

_WITH_SOURCE = ("sms_outcomes", "spend", "call_volume", "owner_alert_delivery")
"""The asset that tells of its source's rows without a time: one of each source, so that one fault is one failure."""


def check_specs(asset: str) -> list[dg.AssetCheckSpec]:
    """Return the checks that an asset evaluates itself."""
    names = [AGREES, KEYS, *([HISTORY] if asset != "sms_failure_rates" else []), *SHARES.get(asset, ())]
    names += [UNDATED] if asset in _WITH_SOURCE else []
    names += [REPEATED] if asset in _WITH_KEYS else []
    return [spec(asset, name, CHECKS[name]) for name in names]


def agreement_failed(asset: str, error: AgreementError, days: DayRange) -> dg.AssetCheckResult:
    """Return the failed check of a rollup that was rolled back."""
    from smarttext_pipelines.rollup.failed_checks import days_stored

    name = KEYS if isinstance(error, RepeatedKeyError) else AGREES
    found = days_stored(asset, days, str(error))
    return evaluation(asset, name, CHECKS[name], found, severity=dg.AssetCheckSeverity.ERROR)


def check_results(asset: str, result: "RolledUp", report: "Report") -> Iterator[dg.AssetCheckResult]:
    """Return the results of a rollup that was written."""

    def told(name: str, finding: Finding | None, **metadata: Any) -> dg.AssetCheckResult:
        return evaluation(asset, name, CHECKS[name], finding, metadata=metadata)

    yield told(AGREES, None, days=len(result.days), days_kept=len(result.kept))
    yield told(KEYS, None, rows=sum(d.rows for d in result.days.values()))
    if asset != "sms_failure_rates":
        yield told(HISTORY, report.kept, days_kept=len(result.kept))
    for check, shares in report.shares.items():
        worst = max((share.percent for share in shares.values()), default=0.0)
        limits = {"limit_percent": check.limit_percent, "worst_percent": round(worst, 2), "days": len(shares)}
        yield told(check.name, report.above.get(check), **limits)
    if asset in _WITH_SOURCE:
        yield told(UNDATED, report.undated)
    if asset in _WITH_KEYS:
        yield told(REPEATED, report.repeated, values=sum(result.repeated.values()))
