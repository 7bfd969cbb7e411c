"""The OpenAI guardrail in the graph: today's use against limits, its checks, the reset, and the reaper."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from smarttext_pipelines.budgets import ledger, ledger_findings
from smarttext_pipelines.budgets.limit_forecast import learn_hours
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.database.findings import Finding
from smarttext_pipelines.defs.evaluations import Check, checked, evaluation, record, spec
from smarttext_pipelines.defs.metadata import column_schema, table_metadata
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.schema.tables.guardrail import openai_budgets as table

SHOWN = 20
_COUNTER, _REWRITES = "counter_equals_ledger", "ledger_rewrites"
_CHECKS = {
    _COUNTER: Check(
        "The counters of the last 7 days are the sums of api_usage, to the last digit.",
        "Calls are admitted or refused by a wrong number. Run `smarttext migrate`: it sees to the triggers that count, "
        "and recounts where one was missing.",
    ),
    _REWRITES: Check(
        "Nobody updated or deleted OpenAI usage of the last 7 days within 24 hours.",
        "Usage that is deleted or made smaller gives budget back. See which program writes to api_usage, and let it "
        "append rows only.",
    ),
}


@dg.asset(
    deps=["api_usage"],
    group_name="stats",
    description=table.comment,
    kinds={"postgres"},
    owners=["team:data"],
    check_specs=[spec("openai_budgets", name, check) for name, check in _CHECKS.items()],
    metadata={
        "dagster/column_schema": column_schema(table),
        "dagster/table_name": f"{table.schema}.{table.name}",
    },
)
def openai_budgets(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Read what every business has used today, and whether the counter can be trusted."""
    with warehouse.transaction() as connection:
        learn_hours(connection)
        used = ledger.read_budgets(connection)
        differences = ledger_findings.difference_finding(connection)
        rewrites = ledger_findings.rewrite_finding(connection)
    found = [
        checked(_COUNTER, _CHECKS[_COUNTER], differences, is_error=True),
        checked(_REWRITES, _CHECKS[_REWRITES], rewrites),
    ]
    record(warehouse, "openai_budgets", found, context.run.run_id)
    yield _result(_COUNTER, differences, dg.AssetCheckSeverity.ERROR)
    yield _result(_REWRITES, rewrites, dg.AssetCheckSeverity.WARN)
    yield dg.MaterializeResult(metadata=_metadata(used))


def _result(name: str, finding: Finding | None, severity: dg.AssetCheckSeverity) -> dg.AssetCheckResult:
    return evaluation("openai_budgets", name, _CHECKS[name], finding, severity=severity)


def _metadata(used: Sequence[ledger.BudgetUse]) -> dict[str, Any]:
    rows = [
        {
            "business": shown_name(b.business),
            "used": b.used_tokens,
            "reserved": b.reserved_tokens,
            "allowed": "no limit" if b.allowed_tokens is None else b.allowed_tokens,
            "%": None if b.percent is None else f"{b.percent:.0f}",
            "USD": f"{b.used_usd:.4f}",
            "refused": b.refused,
            "limit reached at": b.reached_at and f"{b.reached_at:%H:%M} UTC",
        }
        for b in used[:SHOWN]
    ]
    return {
        "used_tokens": float(sum(b.used_tokens for b in used)),
        "used_usd": float(sum(b.used_usd for b in used)),
        "refused_calls": sum(b.refused for b in used),
        "businesses_at_their_limit": sum(1 for b in used if (b.percent or 0) >= 100),
        "today": table_metadata(rows),
        "dagster/row_count": len(used),
    }


@dg.op
def open_openai_day(warehouse: dg.ResourceParam[Warehouse]) -> None:
    """Note that the reporting day has begun; the guardrail does not depend on it."""
    with warehouse.transaction() as connection:
        ledger.open_day(connection)


@dg.job(description="Notes that the OpenAI day was opened; touches no usage and hands out no allowance.")
def openai_usage_reset_job() -> None:
    """Open the day."""
    open_openai_day()


@dg.sensor(
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Books reservations that were not settled within 15 minutes at their upper bound.",
)
def openai_reaper_sensor(warehouse: dg.ResourceParam[Warehouse]) -> dg.SkipReason:
    """Reap; there is nothing to run."""
    with warehouse.transaction() as connection:
        reaped = ledger.reap(connection)
    return dg.SkipReason(f"{reaped} reservations were booked")
