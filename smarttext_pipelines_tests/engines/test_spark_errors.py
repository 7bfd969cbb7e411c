"""What goes wrong with Spark is one line, says no value of a row, and leaves every number as it was."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from zoneinfo import ZoneInfo

import grpc
import pytest
from ibis.expr.types import Table
from pydantic import SecretStr

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import DatabaseError, EngineError, SettingsError, SmartTextError
from smarttext_pipelines.engines import Parameters, SparkEngine
from smarttext_pipelines.engines.spark_session import (
    SparkPlace,
    bounded,
    importing_pyspark,
    open_session,
    spark_version,
    told,
)
from smarttext_pipelines.health.service_lines import spark
from smarttext_pipelines.health.verdicts import State
from smarttext_pipelines.metrics import METRICS, Window
from smarttext_pipelines.metrics.windowed import Tables
from smarttext_pipelines.rollup import roll_up
from smarttext_pipelines.settings import Settings
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.engines.test_spark import AS_OF
from smarttext_pipelines_tests.events import cells, replace_events, roll_up_all
from smarttext_pipelines_tests.fakes.spark import refusing_spark
from smarttext_pipelines_tests.sail import Sail, running_sail

with importing_pyspark():
    from pyspark.errors.exceptions.connect import SparkConnectGrpcException, SQLQueryContext
    from pyspark.sql.connect.proto.base_pb2 import FetchErrorDetailsResponse

QueryContext = FetchErrorDetailsResponse.QueryContext
DAY = date(2026, 3, 8)
DAYS = DayRange(DAY, DAY)
PARAMETERS = Parameters(Window(DAYS, ZoneInfo("UTC"), 4, AS_OF))
TOKEN = "a-token-" + "of-nobody"
ENDLESS = "SELECT SUM(a.id * b.id % 7) AS n FROM range(3000000000) AS a CROSS JOIN range(3000000000) AS b"


def test_a_process_that_was_started_by_a_line_of_code_can_ask_spark() -> None:
    imported = "from smarttext_pipelines.engines.spark_session import importing_pyspark"
    code = f"{imported}\nwith importing_pyspark():\n import pyspark.sql.connect"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def closed_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def said(place: SparkPlace, kind: type[SmartTextError]) -> str:
    with pytest.raises(kind) as raised:
        spark_version(place)
    message = str(raised.value)
    assert "\n" not in message
    assert TOKEN not in message
    return message


def test_a_port_where_nothing_listens_is_told_within_seconds() -> None:
    began = time.monotonic()
    message = said(SparkPlace(f"sc://127.0.0.1:{closed_port()}"), DatabaseError)
    assert "does not answer without TLS; check SMARTTEXT_SPARK_REMOTE" in message
    assert time.monotonic() - began < 15


def test_a_server_without_tls_that_is_asked_with_a_token_is_told(sail: Sail) -> None:
    assert "does not answer with TLS" in said(SparkPlace(sail.remote, TOKEN), DatabaseError)


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED])
def test_a_wrong_token_is_told_and_not_shown(status: grpc.StatusCode) -> None:
    with refusing_spark(status, f"Bearer {TOKEN} is not known") as (remote, tokens):
        message = said(SparkPlace(remote, TOKEN), SettingsError)
    assert message.endswith(f"refused the token ({status.name}); set SMARTTEXT_SPARK_TOKEN")
    assert f"Bearer {TOKEN}" in tokens
    assert TOKEN not in repr(SparkPlace(remote, TOKEN))


def test_what_is_not_there_for_a_moment_is_asked_five_times() -> None:
    began = time.monotonic()
    with refusing_spark(grpc.StatusCode.UNAVAILABLE) as (remote, tokens):
        message = said(SparkPlace(remote, TOKEN), DatabaseError)
    assert message.endswith("cannot be reached any more; nothing was written")
    assert len(tokens) >= 4
    assert time.monotonic() - began < 60


def test_an_error_does_not_quote_the_row_that_caused_it(sail: Sail) -> None:
    number = "+1555" + "0100001"
    with SparkEngine(None, PARAMETERS, SparkPlace(sail.remote), {}) as engine, pytest.raises(EngineError) as raised:
        engine._run(f"SELECT CAST(number AS INT) AS n FROM VALUES ('{number}'), ('x{number}') AS t(number)")
    assert "0100001" not in str(raised.value)
    assert "nothing was written" in str(raised.value)


def test_pyspark_does_not_log_the_value_that_caused_an_error(sail: Sail, capfd: pytest.CaptureFixture[str]) -> None:
    number = "+1555" + "0100001"
    place = SparkPlace(sail.remote)
    with open_session(place):
        pass
    context = QueryContext(context_type=QueryContext.ContextType.SQL, fragment=number)
    msg = f"The value {number} cannot be cast"
    with pytest.raises(EngineError, match="failed with CAST_INVALID_INPUT; nothing was written"), told(place):
        raise SparkConnectGrpcException(msg, "CAST_INVALID_INPUT", contexts=[SQLQueryContext(context)])
    said = capfd.readouterr()
    assert "0100001" not in said.out + said.err


def test_a_query_ends_when_its_time_is_over() -> None:
    began = time.monotonic()
    with running_sail() as server:
        place = SparkPlace(server.remote, query_seconds=2)
        late = pytest.raises(EngineError, match="did not answer within 2 s; nothing was written")
        with late, open_session(place) as session, bounded(place, session):
            session.sql(ENDLESS).toArrow()
    assert time.monotonic() - began < 60


def test_a_server_that_is_killed_during_a_rollup_leaves_every_number_as_it_was(database: Database) -> None:
    replace_events(database.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
    spend = METRICS["spend"]
    roll_up_all(database.engine, DAYS, metrics={"spend": spend}, as_of=AS_OF)
    before = cells(database.engine, "spend")
    assert before
    database.run("UPDATE public.api_usage SET tokens_used = tokens_used + 1")
    with running_sail() as server:

        def killing(tables: Tables, window: Window) -> Table:
            server.kill()
            return spend.rows(tables, window)

        options = {"zone": ZoneInfo("UTC"), "settle_days": 4, "as_of": AS_OF, "spark": SparkPlace(server.remote)}
        with pytest.raises(DatabaseError, match="cannot be reached any more; nothing was written"):
            roll_up(database.engine, replace(spend, rows=killing), DAYS, **options)
    assert cells(database.engine, "spend") == before
    assert not database.rows("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'")


def test_the_doctor_says_which_spark_answers(sail: Sail) -> None:
    line = spark(Settings(spark_remote=sail.remote, spark_rows=2_000_000, _env_file=None))
    assert (line.state, line.todo) == (State.ok, "")
    assert line.said.startswith(f"Spark at {sail.remote[5:]} answers, version ")
    assert line.said.endswith("from 2,000,000 event rows on")


def test_the_doctor_says_what_is_wrong_with_spark() -> None:
    away = spark(Settings(spark_remote=f"sc://127.0.0.1:{closed_port()}", _env_file=None))
    assert (away.state, "does not answer" in away.said) == (State.warn, True)
    with refusing_spark(grpc.StatusCode.UNAUTHENTICATED) as (remote, _):
        refused = spark(Settings(spark_remote=remote, spark_token=SecretStr(TOKEN), _env_file=None))
    assert (refused.state, refused.said.partition("refused ")[2]) == (
        State.warn,
        "the token (UNAUTHENTICATED); set SMARTTEXT_SPARK_TOKEN",
    )
    assert spark(Settings(_env_file=None)).state is State.unknown


@pytest.mark.parametrize(
    ("remote", "reason"),
    [
        ("http://spark.example:15002", "write it as sc://HOST:15002"),
        ("sc://", "write it as sc://HOST:15002"),
        ("sc://spark.example:port", "write it as sc://HOST:15002"),
        ("sc://spark.example:15002/path", "write it as sc://HOST:15002"),
        ("sc://spark.example:15002/;use_ssl", "write it as sc://HOST:15002"),
        ("sc://spark.example:15002;use_ssl=true", "write it as sc://HOST:15002"),
        (f"sc://spark.example:15002/;token={TOKEN}", "the token in SMARTTEXT_SPARK_TOKEN"),
        (f"sc://spark.example:15002/;use_ssl=true;Token={TOKEN}", "the token in SMARTTEXT_SPARK_TOKEN"),
        (f"sc://user:{TOKEN}@spark.example:15002", "the token in SMARTTEXT_SPARK_TOKEN"),
    ],
)
def test_a_url_that_cannot_be_used_is_one_line(
    smarttext: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, remote: str, reason: str
) -> None:
    monkeypatch.setenv("SMARTTEXT_SPARK_REMOTE", remote)
    code, _, told = smarttext("doctor")
    assert code == 2
    assert "SMARTTEXT_SPARK_REMOTE" in told
    assert reason in told
    assert TOKEN not in told
    assert len(told.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "remote",
    [
        "sc://spark.example",
        "sc://spark.example:15002/",
        "sc://[::1]:15002",
        "sc://adb-1.example.net:443/;use_ssl=true;x-databricks-cluster-id=0101-1-abc",
    ],
)
def test_a_url_of_spark_connect_is_taken(remote: str) -> None:
    assert Settings(spark_remote=remote, _env_file=None).spark_remote == remote
