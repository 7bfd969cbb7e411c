"""What other parts of the pipeline report to the rules: one present value for a signal and a scope."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, text

from smarttext_pipelines.core.display import shown

PIPELINE_FAILURES, FAILED_CHECKS = "pipeline_failures", "failed_checks"

_TELL = text(
    """
    INSERT INTO monitoring.alert_signals AS s (signal, scope, value, detail, subject)
    VALUES (:signal, :scope, :value, :detail, CAST(:subject AS jsonb))
    ON CONFLICT (signal, scope) DO UPDATE
    SET value = EXCLUDED.value, detail = EXCLUDED.detail, subject = EXCLUDED.subject, told_at = EXCLUDED.told_at
    WHERE s.value <> EXCLUDED.value OR s.detail IS DISTINCT FROM EXCLUDED.detail
    """
)
_RAISED = text(
    """
    SELECT scope, told_at, subject FROM monitoring.alert_signals
    WHERE signal = :signal AND value > 0 AND scope LIKE :kind || ':%' ORDER BY told_at LIMIT :limit
    """
)
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('smarttext:alert signals', 0))")
_LAST = text(
    "SELECT value > 0 AS is_raised, subject FROM monitoring.alert_signals WHERE signal = :signal AND scope = :scope"
)
_REPORTED_RUNS = text(
    """
    SELECT jsonb_array_elements_text(coalesce(subject -> 'runs', jsonb_build_array(subject -> 'run_id')))
    FROM monitoring.alert_signals WHERE scope LIKE 'run:%' AND subject IS NOT NULL
    """
)
_CHECKS = text(
    """
    WITH seen AS (
        SELECT signal, scope, value, detail FROM jsonb_to_recordset(CAST(:rows AS jsonb))
            AS r (signal text, scope text, value integer, detail text)
    ), before AS (
        SELECT s.signal, s.scope, s.value FROM monitoring.alert_signals AS s JOIN seen USING (signal, scope)
    ), written AS (
        INSERT INTO monitoring.alert_signals AS s (signal, scope, value, detail)
        SELECT signal, scope, value, detail FROM seen
        WHERE value > 0 OR (signal, scope) IN (SELECT signal, scope FROM before WHERE value > 0)
        ON CONFLICT (signal, scope) DO UPDATE
        SET value = EXCLUDED.value, detail = EXCLUDED.detail, told_at = EXCLUDED.told_at
        WHERE s.value <> EXCLUDED.value OR s.detail IS DISTINCT FROM EXCLUDED.detail
    )
    SELECT seen.scope, seen.detail FROM seen LEFT JOIN before USING (signal, scope)
    WHERE seen.value > 0 AND coalesce(before.value, 0) = 0 ORDER BY seen.scope
    """
)
_MARK = text(
    "UPDATE monitoring.alert_signals SET value = 0, detail = :detail, told_at = clock_timestamp() "
    "WHERE scope = :scope AND value > 0"
)
_LONGEST_DETAIL = 300
_MAX_RAISED = 200


@dataclass(frozen=True)
class CheckedDay:
    """What a check found for a day; ``day`` is None where it looks at no days, ``found`` where it passed."""

    check: str
    day: date | None
    found: str | None
    is_error: bool = False


def tell_signal(
    connection: Connection,
    signal: str,
    scope: str,
    value: float,
    detail: str = "",
    subject: Mapping[str, Any] | None = None,
) -> None:
    """Report a present value to the rules; the same again changes nothing.

    Args:
        connection: In a transaction.
        signal: Metric of the rules, such as ``pipeline_failures``.
        scope: What it concerns, such as ``run:rollup_job@2026-03-16``.
        value: 0 when all is well.
        detail: Reason in one line, or why all is well again; numbers and secrets are masked.
        subject: What was run, so that it can be seen when that very thing is well.
    """
    said = shown(detail, _LONGEST_DETAIL)
    kept = None if subject is None else json.dumps(subject)
    connection.execute(_TELL, {"signal": signal, "scope": scope, "value": value, "detail": said, "subject": kept})


@dataclass(frozen=True)
class Raised:
    """A signal that is raised: since when, and what was run."""

    since: datetime
    subject: Mapping[str, Any] | None


def raised_signals(connection: Connection, signal: str, kind: str) -> dict[str, Raised]:
    """Return the scopes of a kind whose signal is raised, without the kind; the oldest two hundred."""
    found = connection.execute(_RAISED, {"signal": signal, "kind": kind, "limit": _MAX_RAISED})
    return {row.scope.split(":", 1)[1]: Raised(row.told_at, row.subject) for row in found}


@dataclass(frozen=True)
class LastTold:
    """What was told last of a scope: whether that is raised, and what was run."""

    is_raised: bool
    subject: Mapping[str, Any] | None


def last_told(connection: Connection, signal: str, scope: str) -> LastTold | None:
    """Return what was told last of a scope; None where nothing ever was."""
    row = connection.execute(_LAST, {"signal": signal, "scope": scope}).first()
    return None if row is None else LastTold(row.is_raised, row.subject)


def lock_signals(connection: Connection) -> None:
    """Wait until nobody else changes what was told by what was told before; until the end of the transaction."""
    connection.execute(_LOCK)


def reported_runs(connection: Connection) -> set[str]:
    """Return the runs that were reported, also those that are well again or marked as well."""
    return set(connection.execute(_REPORTED_RUNS).scalars())


def record_checks(connection: Connection, asset: str, results: Iterable[CheckedDay]) -> Sequence[tuple[str, str]]:
    """Record what the checks of an asset found by day; return scope and finding of those that have begun to fail.

    An incident of a check is that of asset, check and day: only the same check of the same day ends it.
    """
    rows = []
    for each in results:
        scope = f"check:{asset}.{each.check}" + (f"@{each.day}" if each.day else "")
        found = shown(each.found or "", _LONGEST_DETAIL)
        for signal, fails in ((PIPELINE_FAILURES, each.is_error), (FAILED_CHECKS, not each.is_error)):
            failed = each.found is not None and fails
            rows.append({"signal": signal, "scope": scope, "value": int(failed), "detail": found if failed else ""})
    if not rows:
        return []
    return [(row.scope, row.detail) for row in connection.execute(_CHECKS, {"rows": json.dumps(rows)})]


def mark_well(connection: Connection, scope: str, author: str) -> bool:
    """End what was reported for a scope because a person says so; False where nothing was."""
    values = {"scope": scope, "detail": f"marked as well by {shown(author)}"}
    return connection.execute(_MARK, values).rowcount > 0
