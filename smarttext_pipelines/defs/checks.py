"""Asset checks: what a rollup asserted, and the shares that tell whether its numbers can be trusted.

A check looks at all days of its run, so it means the same for one day and for a range.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from smarttext_pipelines.core.days import FIRST_DAY, LAST_DAY
from smarttext_pipelines.core.errors import AgreementError, RepeatedKeyError
from smarttext_pipelines.core.statuses import MOST_NUMBERS_OF_A_KEY, MOST_ROWS_OF_A_KEY

if TYPE_CHECKING:
    from smarttext_pipelines.rollup import RolledUp
    from smarttext_pipelines.rollup.report import Report

AGREES, KEYS, HISTORY = "agrees_with_sources", "one_row_per_key", "history_kept"
UNDATED, REPEATED = "undated_rows", "sids_identify"

_DESCRIPTIONS = {
    AGREES: "What was joined and grouped adds up to the sources by day, to the last digit; else nothing is written.",
    KEYS: "One row per business and day, and per dimension of a fact; else nothing is written.",
    HISTORY: "No day had to keep older numbers because its events are no longer all there.",
    UNDATED: (
        f"Every row of the source has a time of a day from {FIRST_DAY} to {LAST_DAY}; any other belongs to no day and "
        "is in no number. The query in the metadata shows them: correct their times, or delete them."
    ),
    REPEATED: (
        f"No sid or request id has more than {MOST_ROWS_OF_A_KEY} rows or {MOST_NUMBERS_OF_A_KEY} numbers on a day, "
        "which no message or call can have. Such a value is no key: its texts are told apart by request and recipient, "
        "else each row counts for itself. Let the sender write Twilio's sid; the query in the metadata shows which."
    ),
    "statuses_known": "At most 1 % of a day's messages have a status of no class; add Twilio's to core/statuses.py.",
    "error_codes_mapped": (
        "No text failed with an error code of no class; look the code up in Twilio's error dictionary and add it to "
        "core/failure_classes.csv."
    ),
    "late_reports": (
        "At most 1 % of a day's messages are reports on messages older than the settle window; else raise "
        "SMARTTEXT_SETTLE_DAYS."
    ),
    "coverage": "At most 30 % of a settled day's messages have no final outcome; else a failure rate means little.",
    "unattributed_share": "At most 10 % of a day's events have no business; else look at SMARTTEXT_SHARED_SENDERS.",
    "texts_have_calls": (
        "At most 20 % of the businesses that sent texts had neither a call nor an inbound text; else look whether "
        "call_events are still written."
    ),
    "answers_have_usage": (
        "At most 20 % of the businesses that got and sent texts had no OpenAI request; else look whether api_usage "
        "is still written."
    ),
    "delivered_alerts_arrived": (
        "At most 5 % of the owner alerts marked as delivered belong to a text that failed; see `smarttext explain "
        "message SID`."
    ),
}
"""What must be true, and what to do else: stands on the check itself, and on its evaluations that failed."""

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
    return [dg.AssetCheckSpec(name, asset=asset, description=_DESCRIPTIONS[name]) for name in names]


def agreement_failed(asset: str, error: AgreementError) -> dg.AssetCheckResult:
    """Return the failed check of a rollup that was rolled back."""
    name = KEYS if isinstance(error, RepeatedKeyError) else AGREES
    return dg.AssetCheckResult(
        passed=False, asset_key=asset, check_name=name, description=str(error), severity=dg.AssetCheckSeverity.ERROR
    )


def check_results(asset: str, result: "RolledUp", report: "Report") -> Iterator[dg.AssetCheckResult]:
    """Return the results of a rollup that was written."""
    yield _result(asset, AGREES, passed=True, metadata={"days": len(result.days), "days_kept": len(result.kept)})
    yield _result(asset, KEYS, passed=True, metadata={"rows": sum(d.rows for d in result.days.values())})
    if asset != "sms_failure_rates":
        kept = ", ".join(str(day) for day in result.kept[:50])
        yield _result(asset, HISTORY, passed=not kept, metadata={"days_that_kept_their_numbers": kept or "none"})
    for check, shares in report.shares.items():
        above = {day: share for day, share in shares.items() if share.percent > check.limit_percent}
        told = {f"{day}": f"{share.part} of {share.whole}" for day, share in sorted(above.items())[:50]}
        worst = max((share.percent for share in shares.values()), default=0.0)
        metadata = {"limit_percent": check.limit_percent, "worst_percent": round(worst, 2), "days": len(shares), **told}
        yield _result(asset, check.name, passed=not above, metadata=metadata)
    if report.undated_rows is not None and asset in _WITH_SOURCE:
        undated = {"rows": report.undated_rows, "query": report.undated_query or ""}
        yield _result(asset, UNDATED, passed=report.undated_rows == 0, metadata=undated)
    if asset in _WITH_KEYS:
        repeated = {f"{day}": count for day, count in sorted(result.repeated.items())[:50]}
        values: dict[str, Any] = {"values": sum(repeated.values()), **repeated, "query": report.repeated_query or ""}
        yield _result(asset, REPEATED, passed=not repeated, metadata=values)


def _result(asset: str, name: str, *, passed: bool, metadata: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=passed,
        asset_key=asset,
        check_name=name,
        severity=dg.AssetCheckSeverity.WARN,
        description=None if passed else _DESCRIPTIONS[name],
        metadata=metadata,
    )
