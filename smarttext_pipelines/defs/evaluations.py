"""A check of an asset: what must be true, what to do otherwise, and how an evaluation is shown on its page.

An evaluation that failed says what was found, what to do, which rows or days are concerned, and the SQL that shows all
of them, in this order and before any other number.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from smarttext_pipelines.alerting.signals import CheckedDay, record_checks
from smarttext_pipelines.database.findings import Finding
from smarttext_pipelines.defs.metadata import table_metadata
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.sentry.capture import capture_failure

WHAT_TO_DO = "what_to_do"


@dataclass(frozen=True)
class Check:
    """What a check is about.

    Attributes:
        must: What must be true.
        todo: What it means when it is not, and what to do about it.
    """

    must: str
    todo: str


def spec(asset: str, name: str, check: Check) -> dg.AssetCheckSpec:
    """Return the check as it is declared."""
    return dg.AssetCheckSpec(name, asset=asset, description=f"{check.must}\n\nIf it fails: {check.todo}")


def evaluation(
    asset: str,
    name: str,
    check: Check,
    finding: Finding | None,
    *,
    metadata: Mapping[str, Any] | None = None,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
) -> dg.AssetCheckResult:
    """Return a result; without a finding the check has passed."""
    return dg.AssetCheckResult(
        passed=finding is None,
        asset_key=asset,
        check_name=name,
        severity=severity,
        description=finding.said if finding else None,
        metadata={**(failure_metadata(finding, check.todo) if finding else {}), **(metadata or {})},
    )


def checked(name: str, check: Check, finding: Finding | None, *, is_error: bool = False) -> CheckedDay:
    """Return what a check that looks at no days has found, for the rules."""
    return CheckedDay(name, None, f"{finding.said}. {check.todo}" if finding else None, is_error)


def failure_metadata(finding: Finding, todo: str) -> dict[str, Any]:
    """Return the metadata that helps people who see a failure."""
    return {WHAT_TO_DO: todo, "concerned": table_metadata(finding.rows), "sql": finding.sql}


def record(warehouse: Warehouse, asset: str, results: Iterable[CheckedDay], run_id: str) -> None:
    """Report to the rules what checks found by day, and to Sentry those that have begun to fail."""
    found = list(results)
    errors = {each.check for each in found if each.is_error}
    with warehouse.transaction() as connection:
        begun = record_checks(connection, asset, found)
    for scope, said in begun:
        check = scope.removeprefix(f"check:{asset}.").split("@")[0]
        tags = {"check": check, "asset": asset, "run_id": run_id}
        level = "error" if check in errors else "warning"
        capture_failure("check", f"{scope}:{run_id}", f"{scope}: {said}", tags=tags, level=level)
