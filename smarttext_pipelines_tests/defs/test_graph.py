"""The graph is pinned: a rename or a new arrow is a visible change here."""

import ast
from pathlib import Path

import dagster as dg
import pytest

import smarttext_pipelines.defs
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs.assets import FACTS, STATS
from smarttext_pipelines.defs.checks import SHARES, check_specs
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.rollup.quality import SHARE_CHECKS
from smarttext_pipelines.schema.tables import SOURCE_TABLES
from smarttext_pipelines.settings import Settings

GRAPH = {
    "alert_incidents": (
        "alerts",
        (
            "call_events",
            "customer_days",
            "owner_alert_delivery",
            "sms_events",
            "sms_failure_rates",
            "sms_outcomes",
            "spend",
        ),
    ),
    "notifications": ("alerts", ("alert_incidents",)),
    "api_usage": ("sources", ()),
    "archive_scrub": ("archive", ("archived_events",)),
    "archived_events": ("archive", ("api_usage", "call_events", "owner_alerts", "sms_events")),
    "businesses": ("sources", ()),
    "call_events": ("sources", ()),
    "call_volume": ("facts", ("businesses", "call_events")),
    "anomalies": ("anomalies", ("daily_stats", "sms_failure_rates")),
    "customer_days": (
        "facts",
        (
            "api_usage",
            "businesses",
            "call_events",
            "call_volume",
            "missed_call_replies",
            "owner_alerts",
            "sms_events",
            "sms_outcomes",
            "spend",
        ),
    ),
    "daily_digest": (
        "alerts",
        ("alert_incidents", "customer_days", "daily_stats", "missed_call_replies", "sms_outcomes", "spend"),
    ),
    "daily_stats": ("stats", ("call_volume", "missed_call_replies", "owner_alert_delivery", "sms_outcomes", "spend")),
    "event_lake": ("archive", ("api_usage", "call_events", "owner_alerts", "sms_events")),
    "missed_call_replies": ("facts", ("businesses", "call_events", "owner_alerts", "sms_events")),
    "monthly_reports": (
        "reports",
        ("alert_incidents", "call_events", "daily_stats", "missed_call_replies", "sms_outcomes", "spend"),
    ),
    "openai_budgets": ("stats", ("api_usage",)),
    "owner_alert_delivery": ("facts", ("owner_alerts",)),
    "owner_alerts": ("sources", ()),
    "sms_delivery_reports": ("delivery", ("sms_events",)),
    "twilio_usage": ("delivery", ("api_usage", "call_events", "sms_delivery_reports")),
    "openai_costs": ("delivery", ("api_usage",)),
    "pipeline_health": ("health", ("api_usage", "call_events", "owner_alerts", "sms_events")),
    "sms_events": ("sources", ()),
    "sms_failure_rates": ("stats", ("sms_outcomes",)),
    "sms_outcomes": ("facts", ("businesses", "owner_alerts", "sms_events")),
    "spend": ("facts", ("api_usage",)),
    "unit_economics": (
        "economics",
        ("businesses", "call_events", "daily_stats", "sms_events", "sms_outcomes", "spend"),
    ),
}
CRONS = {
    "alert_report_schedule": "20 0 * * *",
    "daily_digest_schedule": "0 8 * * *",
    "delivery_report_schedule": "*/15 * * * *",
    "archive_scrub_schedule": "0 2 * * 0",
    "dagster_history_schedule": "30 3 * * *",
    "event_lake_schedule": "30 1 * * *",
    "intraday_rollup_schedule": "*/10 * * * *",
    "monthly_reports_schedule": "30 6 * * *",
    "openai_costs_schedule": "50 3 * * *",
    "openai_budgets_schedule": "*/30 * * * *",
    "openai_usage_reset_schedule": "1 0 * * *",
    "retention_schedule": "0 1 * * *",
    "pipeline_health_schedule": "25 0 * * *",
    "rollup_schedule": "5 0 * * *",
    "twilio_usage_schedule": "40 3 * * *",
    "unit_economics_schedule": "45 4 * * *",
    "weekly_test_schedule": "0 10 * * 1",
}
SENSORS = {
    "alert_evaluation_sensor": 60,
    "heartbeat_sensor": 60,
    "openai_reaper_sensor": 300,
    "rollup_drift_sensor": 3600,
    "rollup_request_sensor": 60,
    "run_failure_alert_sensor": 30,
}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(Settings(_env_file=None, reporting_timezone="America/New_York"))


def test_keys_groups_and_dependencies_are_as_drawn(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    drawn = {
        node.key.to_user_string(): (node.group_name, tuple(sorted(k.to_user_string() for k in node.parent_keys)))
        for node in graph.asset_nodes
    }
    assert drawn == GRAPH


def test_schedules_run_by_themselves_in_the_reporting_zone(definitions: dg.Definitions) -> None:
    schedules = list(definitions.schedules or [])
    assert {s.name: s.cron_schedule for s in schedules} == CRONS
    assert {s.execution_timezone for s in schedules} == {"America/New_York"}
    assert {s.default_status for s in schedules} == {dg.DefaultScheduleStatus.RUNNING}


def test_sensors_run_by_themselves(definitions: dg.Definitions) -> None:
    sensors = list(definitions.sensors or [])
    assert {s.name: s.minimum_interval_seconds for s in sensors} == SENSORS
    assert {s.default_status for s in sensors} == {dg.DefaultSensorStatus.RUNNING}


def test_every_asset_is_described_owned_and_has_a_column_schema(definitions: dg.Definitions) -> None:
    for node in definitions.resolve_asset_graph().asset_nodes:
        # The page that alerts link to shows what is open before anything else.
        is_short = node.key == dg.AssetKey("alert_incidents")
        columns = [] if is_short else node.metadata["dagster/column_schema"].columns
        assert node.description, node.key
        assert node.owners, node.key
        assert node.kinds, node.key
        assert bool(columns) != is_short, node.key
        assert all(column.description for column in columns), node.key


def test_a_range_is_one_run(definitions: dg.Definitions) -> None:
    computed = [n for n in definitions.resolve_asset_graph().asset_nodes if n.key.to_user_string() in METRICS]
    assert len(computed) == len(METRICS)
    for node in computed:
        assert node.backfill_policy == dg.BackfillPolicy.single_run()
        assert isinstance(node.partitions_def, dg.DailyPartitionsDefinition)
        assert node.partitions_def.timezone == "America/New_York"


def test_the_lineage_is_what_the_metrics_read() -> None:
    parameters = {"shared_senders", "window_days", "search_days", "openai_prices", "customer_key_blocks"}
    assert {n: set(deps) for n, deps in (FACTS | STATS).items()} == {
        name: set(metric.inputs) - parameters for name, metric in METRICS.items()
    }


def test_every_share_check_is_declared_on_its_asset() -> None:
    declared = {(asset, name) for asset, names in SHARES.items() for name in names}
    assert declared == {(check.asset, check.name) for check in SHARE_CHECKS}


def test_every_share_check_says_its_limit() -> None:
    """The description stands on the spec, the limit where the share is read."""
    said = {spec.name: spec.description or "" for asset in SHARES for spec in check_specs(asset)}
    for check in SHARE_CHECKS:
        assert said[check.name].startswith(f"At most {check.limit_percent:g} %" if check.limit_percent else "No "), (
            check.name
        )


def test_everything_that_defs_builds_is_registered(definitions: dg.Definitions) -> None:
    """An asset, job, schedule or sensor that nobody lists would be lost without a word."""
    folder = Path(smarttext_pipelines.defs.__file__).parent
    decorated = {"schedule", "sensor", "job"}
    written = {
        node.name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
        if ast.unparse(decorator).split("(")[0].removeprefix("dg.") in decorated
    }
    listed = {
        *(s.name for s in definitions.schedules or []),
        *(s.name for s in definitions.sensors or []),
        *(j.name for j in definitions.jobs or []),
    }
    assert written <= listed
    assert {t.name for t in SOURCE_TABLES} <= set(GRAPH)
