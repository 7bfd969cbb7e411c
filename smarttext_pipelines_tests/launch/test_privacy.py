"""What Dagster keeps, and so shows to whoever opens the UI, holds no secret that passed through a run or a tick."""

import logging
import sys

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._utils.error import serializable_error_info_from_exc_info

from smarttext_pipelines.launch.private import scrubbed
from smarttext_pipelines_tests.bench.instance import stored_instance
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.planted import Planted, found_in, plant

PLANTED = plant(28)
_TEXTS = "SELECT string_agg(t::text, E'\\n') AS told FROM {} AS t"


def _all_that_is_stored(database: Database) -> str:
    names = database.rows("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
    return "\n".join(str(database.rows(_TEXTS.format(name["relname"]))[0]["told"]) for name in names)


def _failing(planted: list[Planted]) -> dg.AssetsDefinition:
    @dg.asset(check_specs=[dg.AssetCheckSpec("said", asset="leaky")])
    def leaky(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        for each in planted:
            context.log.info(f"told {each.shown}")
        texts = [each.shown for each in planted]
        context.log_event(dg.AssetObservation("leaky", metadata={"seen": texts[0], "more": {"list": texts}}))
        result = dg.AssetCheckResult(
            passed=False, check_name="said", description=texts[1], metadata={"md": dg.MetadataValue.md(texts[2])}
        )
        return dg.MaterializeResult(
            metadata={"preview": dg.MetadataValue.md("\n\n".join(texts))}, check_results=[result]
        )

    return leaky


@dg.op
def _raise() -> None:
    try:
        raise ValueError("; ".join(each.shown for each in PLANTED[:14]))
    except ValueError as error:
        raise dg.Failure("; ".join(each.shown for each in PLANTED[14:]), metadata={"x": PLANTED[0].shown}) from error


@dg.job
def raising() -> None:
    _raise()


def test_events_logs_metadata_and_stacks_of_errors_are_stored_without_one(empty_database: Database) -> None:
    with stored_instance(empty_database.plain_url) as instance:
        logging.disable(logging.NOTSET)
        assert dg.materialize([_failing(PLANTED)], instance=instance).success
        failed = raising.execute_in_process(instance=instance, raise_on_error=False)
        assert not failed.success
        seen = instance.get_latest_materialization_event(dg.AssetKey("leaky"))
        assert seen is not None
        assert seen.asset_materialization is not None
        assert "[phone]" in str(seen.asset_materialization.metadata["preview"].value)
    told = _all_that_is_stored(empty_database)
    assert "dagster._core" in told
    assert "told [phone]" in told
    assert found_in(told, PLANTED) == []


def test_the_error_of_a_tick_is_stored_without_one(empty_database: Database) -> None:
    with stored_instance(empty_database.plain_url) as instance:
        for each in PLANTED:
            try:
                raise psycopg.errors.UniqueViolation(each.shown)
            except psycopg.Error:
                error = serializable_error_info_from_exc_info(sys.exc_info())
            tick = instance.create_tick(TickData("o", "a_sensor", InstigatorType.SENSOR, TickStatus.STARTED, 1.0))
            instance.update_tick(tick.with_status(TickStatus.FAILURE, error=error))
            skipped = TickData("o", "a_sensor", InstigatorType.SENSOR, TickStatus.SKIPPED, 2.0, skip_reason=each.shown)
            instance.create_tick(skipped)
    told = _all_that_is_stored(empty_database)
    assert "UniqueViolation" in told
    assert found_in(told, PLANTED) == []


@pytest.mark.parametrize("status", [TickStatus.STARTED, TickStatus.SUCCESS, TickStatus.SKIPPED])
def test_a_tick_survives_scrubbing(status: TickStatus) -> None:
    tick = TickData("o", "a_sensor", InstigatorType.SENSOR, status, 1.5, run_ids=["+14155550123", "r"])
    assert scrubbed(tick)._replace(run_ids=[]) == tick._replace(run_ids=[])
