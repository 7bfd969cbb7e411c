"""Checks, days and runs in any order, by hand and by the job, and marks: incidents tell what is still failed."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from smarttext_pipelines.alerting.incidents.review import mark_resolved
from smarttext_pipelines.alerting.signals import CheckedDay, record_checks
from smarttext_pipelines.defs.run_failures import end_recovered_runs, report_failed_runs
from smarttext_pipelines_tests.alerts import World, only
from smarttext_pipelines_tests.conftest import SOAK, Database

ASSETS, CHECKS = ("call_volume", "daily_stats", "spend"), ("coverage", "late_reports")
DAYS = ("2026-03-14", "2026-03-15")
BROKEN: set[tuple[str, str]] = set()


def _asset(name: str) -> dg.AssetsDefinition:
    @dg.asset(name=name, partitions_def=dg.DailyPartitionsDefinition("2026-03-01"))
    def made(context: dg.AssetExecutionContext) -> None:
        if (name, context.partition_key) in BROKEN:
            msg = f"{name} is broken"
            raise ValueError(msg)

    return made


ALL = dg.define_asset_job("rollup_job", selection=dg.AssetSelection.assets(*ASSETS))
GRAPH = dg.Definitions([_asset(name) for name in ASSETS], jobs=[ALL])


@dataclass
class Run:
    """A run that failed: what nobody has computed since, and whether a person has marked it."""

    missing: set[tuple[str, str]]
    is_marked: bool = False
    scope: str = ""

    @property
    def is_failed(self) -> bool:
        return bool(self.missing) and not self.is_marked


@dataclass(eq=False)
class Pipeline(RuleBasedStateMachine):
    """What has failed, as the incidents must tell it."""

    database: Database
    runs: dict[str, Run] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    reasons: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__init__()
        BROKEN.clear()
        tables = ("incidents", "notifications", "alert_signals", "rule_states")
        self.database.run(f"TRUNCATE {', '.join(f'monitoring.{name}' for name in tables)} CASCADE")
        self.instance = dg.DagsterInstance.ephemeral()
        self.world = World(self.database, now=datetime.now(UTC))
        self.world.rules = only("pipeline_failures", "failed_checks", notify="always")
        self.world.begin()

    @rule(asset=st.sampled_from(ASSETS), day=st.sampled_from(DAYS), on=st.booleans())
    def breaks(self, asset: str, day: str, on: bool) -> None:
        (BROKEN.add if on else BROKEN.discard)((asset, day))

    @rule(assets=st.sets(st.sampled_from(ASSETS), min_size=1), day=st.sampled_from(DAYS))
    def somebody_runs_assets(self, assets: Collection[str], day: str) -> None:
        self._run(GRAPH.resolve_implicit_global_asset_job_def(), sorted(assets), day)

    @rule(day=st.sampled_from(DAYS))
    def the_job_runs(self, day: str) -> None:
        self._run(GRAPH.resolve_job_def("rollup_job"), None, day)

    def _run(self, job: dg.JobDefinition, assets: list[str] | None, day: str) -> None:
        result = job.execute_in_process(
            instance=self.instance,
            partition_key=day,
            asset_selection=[dg.AssetKey(name) for name in assets] if assets else None,
            raise_on_error=False,
        )
        done = {(event.asset_key.to_user_string(), day) for event in result.get_asset_materialization_events()}
        for each in self.runs.values():
            each.missing -= done
        if not result.success:
            self.runs[result.run_id] = Run({(name, day) for name in assets or ASSETS} - done)

    @rule(check=st.sampled_from(CHECKS), day=st.sampled_from(DAYS), fails=st.booleans())
    def a_check_runs(self, check: str, day: str, fails: bool) -> None:
        scope = f"check:sms_outcomes.{check}@{day}"
        found = "3 of 7 messages are odd" if fails else None
        with self.database.engine.begin() as connection:
            record_checks(connection, "sms_outcomes", [CheckedDay(check, date.fromisoformat(day), found)])
        if fails and scope not in self.failing:
            self.reasons[scope] += 1
        (self.failing.add if fails else self.failing.discard)(scope)

    @rule(which=st.integers(0, 5))
    def a_person_marks(self, which: int) -> None:
        open_ = self._incidents("state IN ('firing', 'recovering') AND scope <> 'group'")
        if not open_:
            return
        incident = open_[which % len(open_)]
        with self.database.engine.begin() as connection:
            mark_resolved(connection, incident["id"], "Ann")
        self.failing.discard(incident["scope"])
        for each in self.runs.values():
            each.is_marked |= each.scope == incident["scope"]

    @rule()
    def a_tick(self) -> None:
        with self.database.engine.begin() as connection:
            report_failed_runs(self.instance, connection, None)
            end_recovered_runs(self.instance, connection)
        for row in self.database.rows("SELECT scope, subject FROM monitoring.alert_signals WHERE subject IS NOT NULL"):
            for run in row["subject"].get("runs", [row["subject"]["run_id"]]):
                if not self.runs[run].scope:
                    self.runs[run].scope = row["scope"]
                    self.reasons[row["scope"]] += 1
        self.world.tick(5)
        assert self._failed() <= self._open(), "what is still failed has an open incident"
        self._told_once()

    def teardown(self) -> None:
        for _ in range(3):
            self.a_tick()
        assert self._open() == self._failed(), "what is well or marked has none"
        self.instance.dispose()

    def _failed(self) -> set[str]:
        return self.failing | {run.scope for run in self.runs.values() if run.is_failed}

    def _open(self) -> set[str]:
        return {row["scope"] for row in self._incidents("state <> 'resolved' AND scope <> 'group'")}

    def _incidents(self, where: str) -> list[dict[str, Any]]:
        return self.database.rows(f"SELECT * FROM monitoring.incidents WHERE {where} ORDER BY id")

    def _told_once(self) -> None:
        began = Counter(row["scope"] for row in self._incidents("scope <> 'group'"))
        assert not [scope for scope, count in began.items() if count > self.reasons[scope]], (
            "each for a reason of its own"
        )
        told = Counter((row["incident_id"], row["kind"]) for row in self.database.rows(
            "SELECT incident_id, kind FROM monitoring.notifications WHERE status <> 'suppressed'"
        ))  # fmt: skip
        assert not [each for each, count in told.items() if count > 1 and each[1] in ("firing", "resolved")]


def test_an_incident_of_a_check_or_run_is_open_while_that_very_thing_is_failed(database: Database) -> None:
    examples, steps = (200, 40) if SOAK else (4, 12)
    limits = settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    run_state_machine_as_test(lambda: Pipeline(database), settings=limits)


def test_two_failed_runs_of_one_thing_that_a_person_has_marked_are_not_reported_again(database: Database) -> None:
    pipeline = Pipeline(database)
    pipeline.breaks("spend", DAYS[0], on=True)
    for _ in range(2):
        pipeline.the_job_runs(DAYS[0])
    pipeline.a_tick()
    pipeline.a_person_marks(0)
    pipeline.teardown()


def test_a_success_of_one_selection_ends_no_failure_of_another(database: Database) -> None:
    pipeline = Pipeline(database)
    for asset in ("spend", "daily_stats"):
        pipeline.breaks(asset, DAYS[0], on=True)
        pipeline.somebody_runs_assets(["call_volume", asset], DAYS[0])
    pipeline.a_tick()
    pipeline.breaks("daily_stats", DAYS[0], on=False)
    pipeline.somebody_runs_assets(["call_volume", "daily_stats"], DAYS[0])
    pipeline.teardown()
