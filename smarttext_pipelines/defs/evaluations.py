"""A check of an asset: what must be true, what to do else, and how an evaluation is shown on its page.

An evaluation that failed says what was found, what to do, which rows or days are concerned, and the SQL that shows all
of them, in this order and before any other number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from smarttext_pipelines.database.findings import Finding
from smarttext_pipelines.defs.metadata import table_metadata

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


def failure_metadata(finding: Finding, todo: str) -> dict[str, Any]:
    """Return what people need who see that something is wrong."""
    return {WHAT_TO_DO: todo, "concerned": table_metadata(finding.rows), "sql": finding.sql}
