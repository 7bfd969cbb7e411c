"""A real Spark with two workers. ``make soak`` only, where Java is and ``SPARK_HOME`` says where Spark is."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from ibis.expr.types import Table

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import DatabaseError, SettingsError
from smarttext_pipelines.engines.spark_session import SparkPlace, spark_version
from smarttext_pipelines.metrics import METRICS, Window
from smarttext_pipelines.metrics.windowed import Tables
from smarttext_pipelines.rollup import roll_up
from smarttext_pipelines.sample import SampleSpec, load_sample
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.engines.test_spark import AS_OF, EVERY_CASE, require_agreement
from smarttext_pipelines_tests.events import cells
from smarttext_pipelines_tests.lake_files import write_lake
from smarttext_pipelines_tests.spark_cluster import Cluster, running_cluster

pytestmark = pytest.mark.soak
END = datetime(2026, 6, 30, 23, tzinfo=ZoneInfo("UTC"))
DAYS = DayRange(END.date() - timedelta(days=4), END.date() - timedelta(days=2))
NAME = "sms_outcomes"
RUNNING = r"(Starting task \d+\.0 in stage)"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = Path(os.environ.get("SPARK_HOME", ""))
    if not (home / "jars").is_dir():
        pytest.skip("SPARK_HOME names no Spark (2026-11-28)")
    with running_cluster(home, tmp_path_factory.mktemp("spark")) as running:
        yield running


def test_a_token_is_needed(cluster: Cluster) -> None:
    with pytest.raises(SettingsError, match="refused the token"):
        spark_version(SparkPlace(cluster.remote, "of-another-" + "cluster"))
    assert spark_version(SparkPlace(cluster.remote, cluster.token))


@pytest.mark.parametrize("case", EVERY_CASE, ids=str)
def test_no_cell_differs_from_postgresql(
    database: Database, cluster: Cluster, tmp_path: Path, case: tuple[str, date, str | None, int]
) -> None:
    require_agreement(database, SparkPlace(cluster.remote, cluster.token), tmp_path, case, examples=1)


def test_a_worker_that_is_killed_during_a_query_leaves_the_right_numbers(
    database: Database, cluster: Cluster, tmp_path: Path
) -> None:
    load_sample(database.url, SampleSpec(10, 20, 1_000, 7, END.date(), END))
    options = {"zone": ZoneInfo("UTC"), "settle_days": 4, "as_of": AS_OF}
    roll_up(database.engine, METRICS[NAME], DAYS, **options)
    before = cells(database.engine, NAME)
    lake = write_lake(database, tmp_path, DayRange(date(2026, 5, 1), date(2026, 6, 27)))
    place = SparkPlace(cluster.remote, cluster.token, lake_files=lake.find)
    killer = threading.Thread(target=lambda: (cluster.driver.wait_for(RUNNING), cluster.workers[0].kill()))

    def rows(tables: Tables, window: Window) -> Table:
        cluster.driver.forget()
        killer.start()
        return METRICS[NAME].rows(tables, window)

    with suppress(DatabaseError):
        result = roll_up(database.engine, replace(METRICS[NAME], rows=rows), DAYS, spark=place, **options)
        assert (result.engine, result.notes) == ("spark", [])
    killer.join()
    assert not cluster.workers[0].is_running
    assert cells(database.engine, NAME) == before
    # What is left of the cluster goes on.
    assert roll_up(database.engine, METRICS[NAME], DAYS, spark=place, **options).engine == "spark"
    assert cells(database.engine, NAME) == before
