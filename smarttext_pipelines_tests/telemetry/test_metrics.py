"""What Prometheus scrapes: the numbers of stats, nothing unknown as zero, and the database asked seldom."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event
from starlette.testclient import TestClient

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.database.connect import open_engine
from smarttext_pipelines.digest.totals import read_totals
from smarttext_pipelines.telemetry import collector as telemetry
from smarttext_pipelines.telemetry.collector import DatabaseCollector, exposition
from smarttext_pipelines.web.app import build_app
from smarttext_pipelines.web.sign_in import access_of
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import replace_events, roll_up_all
from smarttext_pipelines_tests.web.conftest import ADDRESS, DAY, NOW

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"


@pytest.fixture(scope="module")
def world(server: Server, template: str) -> Iterator[Database]:
    with fresh_database(server, template) as found:
        replace_events(found.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
        roll_up_all(found.engine, DayRange(DAY, DAY), as_of=NOW)
        found.run(
            "INSERT INTO monitoring.incidents (rule, scope, state, severity, since, fired_at, evaluated_at)"
            " VALUES ('x', 'platform', 'firing', 'critical', now(), now(), now())"
        )
        yield found


def _scraped(collector: DatabaseCollector) -> dict[str, float]:
    body, _ = exposition(collector, "text/plain")
    return {
        ",".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def _collector(world: Database, at: datetime = NOW) -> DatabaseCollector:
    return DatabaseCollector(world.engine, world.settings(), lambda: at)


def test_its_numbers_are_those_of_stats(world: Database) -> None:
    found = _scraped(_collector(world))
    with world.engine.connect() as connection:
        totals = read_totals(connection, [DAY])[DAY]
    replies = {name: getattr(totals, name) for name in ("in_time", "late", "never", "unknown")}
    assert {name: found[f"smarttext_missed_calls_total,{name}"] for name in replies} == replies
    texts = {name: value for name, value in found.items() if name.startswith("smarttext_messages_total")}
    assert sum(texts.values()) == totals.texts
    assert texts["smarttext_messages_total,failed"] == totals.failed
    assert found["smarttext_openai_tokens_total"] >= totals.tokens
    assert found["smarttext_spend_usd_total,openai"] == float(totals.openai_usd)
    assert found["smarttext_outcome_coverage_ratio"] == float(totals.known_percent or 0) / 100
    assert found["smarttext_incidents,critical"] == 1
    assert (
        found["smarttext_day_start_timestamp_seconds"] == datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC).timestamp()
    )


def test_no_label_is_one_that_prometheus_gives_a_series_itself(world: Database) -> None:
    world.run(
        "INSERT INTO monitoring.heartbeats (kind, name, interval_seconds, last_success_at, watched_since)"
        " VALUES ('sensor', 'rollup_sensor', 60, now(), now())"
    )
    labels = {label for family in _collector(world).collect() for sample in family.samples for label in sample.labels}
    assert labels & {"job", "instance", "le", "quantile"} == set()
    assert "job_name" in labels


def test_what_is_not_known_is_absent(world: Database) -> None:
    found = _scraped(_collector(world, NOW + timedelta(days=1)))
    assert not {name for name in found if name.startswith(("smarttext_messages", "smarttext_sms", "smarttext_missed"))}
    assert found["smarttext_incidents,warning"] == 0, "none is open, which is known"


def test_a_database_that_is_away_is_said_and_nothing_else(world: Database) -> None:
    away = DatabaseCollector(open_engine("postgresql+psycopg://x@127.0.0.1:9/x"), world.settings())
    assert {name.split(",")[0] for name in _scraped(away)} == {"smarttext_build_info", "smarttext_database_up"}
    assert _scraped(away)["smarttext_database_up"] == 0


def test_it_asks_the_database_at_most_every_fifteen_seconds(world: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(telemetry.time, "monotonic", lambda: clock[0])
    collector = _collector(world)
    for _ in range(100):
        clock[0] += 0.3
        list(collector.collect())
    assert collector.reads == 2


def test_a_thousand_scrapes_cost_the_statements_of_their_seconds_by_fifteen(
    world: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, settings, statements = [1000.0], world.settings(), list[str]()
    monkeypatch.setattr(telemetry.time, "monotonic", lambda: clock[0])
    engine = open_engine(world.url)
    event.listen(engine, "before_cursor_execute", lambda _c, _k, statement, *_: statements.append(statement))
    app = build_app(engine, settings, access_of(settings, "127.0.0.1"))
    with TestClient(app, base_url=ADDRESS) as client:
        # What a new connection costs is not the scrape's.
        client.get("/metrics")
        clock[0] += 15
        statements.clear()
        client.get("/metrics")
        for_one = len(statements)
        for _ in range(999):
            clock[0] += 0.25
            assert client.get("/metrics").status_code == 200
    engine.dispose()
    assert 0 < for_one < 30
    assert len(statements) == (int(999 * 0.25 / 15) + 1) * for_one


def test_series_of_businesses_are_bounded() -> None:
    uses = [(f"b{n}", float(100 - n)) for n in range(5)]

    class Use:
        def __init__(self, name: str, percent: float) -> None:
            self.business_id, self.percent = name, percent

    found = [metric for metric in telemetry._budgets([Use(*each) for each in uses], 2) if metric.samples]
    labels = [sample.labels.get("business") for metric in found for sample in metric.samples]
    assert labels == [None, "b0", "b1", "other"]
    assert found[1].samples[-1].value == 0.98


def test_who_may_see_the_dashboard_may_scrape(world: Database) -> None:
    settings = world.settings(web_auth="token", web_viewer_token="v" * 16)
    app = build_app(world.engine, settings, access_of(settings, "127.0.0.1"))
    with TestClient(app, base_url=ADDRESS, follow_redirects=False) as client:
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"authorization": "Bearer guess"}).status_code == 401
        answer = client.get("/metrics", headers={"authorization": f"Bearer {'v' * 16}"})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")


PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool on this machine (2026-11-27)")
def test_prometheus_own_tool_finds_no_fault(world: Database) -> None:
    body, _ = exposition(_collector(world), "text/plain")
    done = subprocess.run([str(PROMTOOL), "check", "metrics"], input=body, capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", "rules_test.yml"], cwd=DEPLOY, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
