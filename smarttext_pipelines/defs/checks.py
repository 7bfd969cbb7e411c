"""Asset checks: what a rollup asserted, and the shares that show whether its numbers can be trusted.

A check looks at all days of its run, so it means the same for one day and for a range.
"""

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import dagster as dg

from smarttext_pipelines.alerting.signals import CheckedDay
from smarttext_pipelines.core.days import FIRST_DAY, LAST_DAY, DayRange, is_final
from smarttext_pipelines.core.errors import AgreementError, RepeatedKeyError
from smarttext_pipelines.core.statuses import MAX_NUMBERS_OF_A_KEY, MAX_ROWS_OF_A_KEY
from smarttext_pipelines.database.findings import Finding
from smarttext_pipelines.defs.evaluations import Check, evaluation, spec

if TYPE_CHECKING:
    from smarttext_pipelines.rollup import RolledUp
    from smarttext_pipelines.rollup.quality import Share, ShareCheck
    from smarttext_pipelines.rollup.report import Report

AGREES, KEYS, HISTORY = "agrees_with_sources", "one_row_per_key", "history_kept"
UNDATED, REPEATED = "undated_rows", "sids_identify"

CHECKS = {
    AGREES: Check(
        "What was joined and grouped adds up to the sources by day, to the last digit; else nothing is written.",
        "Nothing was written, and the earlier numbers are kept. Run it again: rows may have changed while they were "
        "read. If it fails again, the metric's definition is at fault: report it with this sentence.",
    ),
    KEYS: Check(
        "One row per business and day, and per dimension of a fact; else nothing is written.",
        "Nothing was written, and the earlier numbers are kept. The metric's definition is at fault: report it with "
        "this sentence.",
    ),
    HISTORY: Check(
        "No day had to keep older numbers because its events are no longer all there.",
        "The earlier numbers are shown. If events were deleted by mistake, restore them and roll the days up; if that "
        "was on purpose and the smaller numbers are wanted, use `smarttext rollup --allow-empty`.",
    ),
    UNDATED: Check(
        f"Every row of the source has a time of a day from {FIRST_DAY} to {LAST_DAY}; any other belongs to no day and "
        "is in no number.",
        "Give the rows a time and roll up its days, or let `smarttext retention run --undated` archive and "
        "delete them.",
    ),
    REPEATED: Check(
        f"No sid or request id has more than {MAX_ROWS_OF_A_KEY} rows or {MAX_NUMBERS_OF_A_KEY} numbers on a day, "
        "which no message or call can have.",
        "Such a value is no key: its texts are identified by request and recipient, else each row counts for itself. "
        "Let the application write Twilio's sid there.",
    ),
    "statuses_known": Check(
        "At most 1 % of a day's messages have a status of no class.",
        "They count as attempts, and in no failure rate. Twilio's message statuses are listed at "
        "https://www.twilio.com/docs/messaging/api/message-resource; correct what writes another.",
    ),
    "error_codes_mapped": Check(
        "No text failed with an error code of no class.",
        "They count as failed, with nobody named who acts. Look the code up at https://www.twilio.com/docs/api/errors "
        "and give it a class in the file that SMARTTEXT_FAILURE_CODES names.",
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
        "Owners were not notified. `smarttext explain message SID` says why a text failed and who acts.",
    ),
    "customers_add_up": Check(
        "No business of a settled day has other sums over its customers than in the facts of texts, calls, answers "
        "and spend, to the last digit.",
        "The day was computed from other rows than those facts: roll it up again. If it fails again, the metric's "
        "definition is at fault: report it with the sums shown.",
    ),
}

SHARES: dict[str, tuple[str, ...]] = {
    "sms_outcomes": ("statuses_known", "error_codes_mapped", "late_reports"),
    "sms_failure_rates": ("coverage",),
    "daily_stats": ("unattributed_share", "texts_have_calls", "answers_have_usage"),
    "owner_alert_delivery": ("delivered_alerts_arrived",),
    "customer_days": ("customers_add_up",),
}
"""Names of the share checks of each asset; ``rollup.quality`` says what they are."""

_WITH_KEYS = ("sms_outcomes", "call_volume")

_WITH_SOURCE = ("sms_outcomes", "spend", "call_volume", "owner_alert_delivery")
"""The asset that reports its source's undated rows: one of each source, so that one fault is one failure."""


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

    def outcome(name: str, finding: Finding | None, **metadata: Any) -> dg.AssetCheckResult:
        return evaluation(asset, name, CHECKS[name], finding, metadata=metadata)

    yield outcome(AGREES, None, days=len(result.days), days_kept=len(result.kept))
    yield outcome(KEYS, None, rows=sum(d.rows for d in result.days.values()))
    if asset != "sms_failure_rates":
        yield outcome(HISTORY, report.kept, days_kept=len(result.kept))
    for check, shares in report.shares.items():
        worst = max((share.percent for share in shares.values()), default=0.0)
        limits = {"limit_percent": check.limit_percent, "worst_percent": round(worst, 2), "days": len(shares)}
        yield outcome(check.name, report.above.get(check), **limits)
    if asset in _WITH_SOURCE:
        yield outcome(UNDATED, report.undated)
    if asset in _WITH_KEYS:
        yield outcome(REPEATED, report.repeated, values=sum(result.repeated.values()))


def checked_days(result: "RolledUp", report: "Report", zone: ZoneInfo, settle_days: int) -> Iterator[CheckedDay]:
    """Return what each check of the asset found for each day of a rollup, but for days it did not look at."""
    own = {each.name for each in check_specs(result.metric)}
    yield from (each for each in _checked_days(result, report, zone, settle_days) if each.check in own)


def _checked_days(result: "RolledUp", report: "Report", zone: ZoneInfo, settle_days: int) -> Iterator[CheckedDay]:
    for day in result.days:
        for name in (AGREES, KEYS):
            yield CheckedDay(name, day, None, is_error=True)
        kept = day in result.kept
        yield CheckedDay(
            HISTORY, day, _said("the day keeps older numbers: its events are gone", HISTORY) if kept else None
        )
        count = result.repeated.get(day, 0)
        found = f"{count:,} {'value' if count == 1 else 'values'} in {result.metric} cannot be a sid"
        yield CheckedDay(REPEATED, day, _said(found, REPEATED) if count else None)
        for check, shares in report.shares.items():
            if check.settled_only and not is_final(day, zone, settle_days, result.as_of):
                continue
            share = shares.get(day)
            is_above = share is not None and share.percent > check.limit_percent
            yield CheckedDay(check.name, day, _of_share(check, day, share, report) if is_above and share else None)
    yield CheckedDay(UNDATED, None, _said(report.undated.said, UNDATED) if report.undated else None)


def failed_days(error: AgreementError, days: DayRange) -> Iterator[CheckedDay]:
    """Return the check that kept a rollup from being written, for each of its days."""
    name = KEYS if isinstance(error, RepeatedKeyError) else AGREES
    for day in days:
        yield CheckedDay(name, day, _said(str(error), name), is_error=True)


def _of_share(check: "ShareCheck", day: date, share: "Share", report: "Report") -> str:
    finding, above = report.above.get(check), report.shares[check].values()
    is_only = finding is not None and sum(each.percent > check.limit_percent for each in above) == 1
    # The finding of a run names values; of several days it names the worst alone.
    said = (
        finding.said
        if is_only and finding
        else f"{share.part:,} of {share.whole:,} {check.whole} on {day} {check.part}"
    )
    return _said(said, check.name)


def _said(found: str, name: str) -> str:
    return f"{found}. {CHECKS[name].todo}"
