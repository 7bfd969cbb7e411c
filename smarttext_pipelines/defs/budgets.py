"""The OpenAI guardrail in the graph: today's use against limits, its checks, the reset, and the reaper."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from smarttext_pipelines.alerting.markup import MARKDOWN
from smarttext_pipelines.core.shown import shown_name
from smarttext_pipelines.defs.metadata import column_schema
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.storage import budgets
from smarttext_pipelines.storage.schema.guardrail import openai_budgets as table

SHOWN = 20
_COUNTER, _REWRITES = "counter_equals_ledger", "ledger_rewrites"
_CHECKS = {
    _COUNTER: "The counters of the last 7 days are the sums of api_usage, to the last digit; else calls are admitted "
    "or refused by a wrong number: run `smarttext migrate`, which counts anew where a trigger is missing.",
    _REWRITES: "Nobody updated or deleted OpenAI usage of the last 7 days within 24 hours; that gives budget back.",
}


@dg.asset(
    deps=["api_usage"],
    group_name="stats",
    description=table.comment,
    kinds={"postgres"},
    owners=["team:data"],
    check_specs=[dg.AssetCheckSpec(name, asset="openai_budgets", description=why) for name, why in _CHECKS.items()],
    metadata={"dagster/column_schema": column_schema(table), "dagster/table_name": f"{table.schema}.{table.name}"},
)
def openai_budgets(
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Read what every business has used today, and whether the counter can be trusted."""
    with warehouse.transaction() as connection:
        used = budgets.read_budgets(connection)
        differences = budgets.counter_differences(connection)
        rewrites, tokens, usd = budgets.recent_rewrites(connection)
    told = {f"{day} {business or '(no business)'}": f"{t} tokens, {u} USD" for day, business, t, u in differences[:50]}
    yield _result(_COUNTER, not differences, dg.AssetCheckSeverity.ERROR, {"differences": len(differences), **told})
    given_back = {"rewrites": rewrites, "tokens_given_back": float(tokens), "usd_given_back": float(usd)}
    yield _result(_REWRITES, not rewrites, dg.AssetCheckSeverity.WARN, given_back)
    yield dg.MaterializeResult(metadata=_metadata(used))


def _result(name: str, passed: bool, severity: dg.AssetCheckSeverity, metadata: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=passed, check_name=name, severity=severity, metadata=metadata)


def _metadata(used: Sequence[budgets.BudgetUse]) -> dict[str, Any]:
    head = "| business | used | reserved | allowed | % | USD | refused | limit reached at |\n|" + " --- |" * 8
    rows = [
        f"| {MARKDOWN.escape(shown_name(b.business))} | {b.used_tokens:,} | "
        f"{b.reserved_tokens:,} | {_or_dash(b.allowed_tokens)} | "
        f"{'–' if b.percent is None else f'{b.percent:.0f}'} | {b.used_usd:.4f} | {b.refused:,} | "
        f"{f'{b.reached_at:%H:%M} UTC' if b.reached_at else '–'} |"
        for b in used[:SHOWN]
    ]
    return {
        "dagster/row_count": len(used),
        "total_used_tokens": float(sum(b.used_tokens for b in used)),
        "total_used_usd": float(sum(b.used_usd for b in used)),
        "refused_calls": sum(b.refused for b in used),
        "businesses_at_their_limit": sum(1 for b in used if (b.percent or 0) >= 100),
        "today": dg.MetadataValue.md("\n".join([head, *rows])),
    }


def _or_dash(amount: object) -> str:
    return "–" if amount is None else f"{amount:,}"


@dg.op
def open_openai_day(warehouse: dg.ResourceParam[Warehouse]) -> None:
    """Note that the reporting day has begun; the guardrail does not depend on it."""
    with warehouse.transaction() as connection:
        budgets.open_day(connection)


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
        reaped = budgets.reap(connection)
    return dg.SkipReason(f"{reaped} reservations were booked")
