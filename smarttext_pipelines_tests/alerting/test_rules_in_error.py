"""A rule that cannot be evaluated is told by the ways that do not need it: a notice, Sentry, the page of health."""

import sentry_sdk
from starlette.testclient import TestClient

from smarttext_pipelines.alerting.evaluation_service import evaluate_now
from smarttext_pipelines.alerting.notify.markup import PLAIN
from smarttext_pipelines.alerting.notify.message import Message, full_text
from smarttext_pipelines.web.app import build_app
from smarttext_pipelines.web.sign_in import access_of
from smarttext_pipelines_tests.alerts import MINUTE, NOON, World, only
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.fakes.sentry import reporting
from smarttext_pipelines_tests.web.conftest import ADDRESS

_BREAK = "ALTER VIEW monitoring.sms_events RENAME COLUMN error_code TO away"
_REPAIR = "ALTER VIEW monitoring.sms_events RENAME COLUMN away TO error_code"


def test_rules_in_error_are_an_incident_of_the_pipeline_after_two_evaluations(database: Database) -> None:
    world = World(database, rules=only("sms_failure_rate", "account_errors", "rules_in_error"))
    world.begin()
    world.run(_BREAK)
    assert not world.tick().notices
    assert world.tick().notices == {"firing": 1}
    told = [full_text(Message.from_json(message), PLAIN) for (message,) in world.outbox("message")]
    assert "Alert rules: 2 rules cannot be evaluated: column" in told[0]
    world.run(_REPAIR)
    assert {"resolved": 1} in [world.tick(2).notices for _ in range(4)]


def test_it_is_one_event_of_sentry_though_a_silence_holds_the_notice_back_and_stands_on_the_page_of_health(
    database: Database,
) -> None:
    settings = database.settings()
    database.run(
        "INSERT INTO monitoring.silences (author, reason, starts_at, ends_at)"
        f" VALUES ('somebody', 'a planned change', '{NOON}', '{NOON + 60 * MINUTE}')"
    )
    with reporting() as sentry:
        for tick in range(6):
            if tick == 1:
                database.run(_BREAK)
            assert not evaluate_now(database.engine, settings, [], NOON + tick * MINUTE)
            sentry_sdk.flush(5)
            assert len(sentry.sent) == (tick >= 2), "the second evaluation in error tells it, and no other one"
    (event,) = sentry.sent
    assert event["message"].startswith(
        "alert rules cannot be evaluated: column error_code does not exist (account_errors, "
    )
    assert "missed_calls_unanswered" in event["message"], "another statement, for the same cause"
    with TestClient(build_app(database.engine, settings, access_of(settings, "127.0.0.1")), base_url=ADDRESS) as client:
        page = client.get("/health").text
    assert "rules in error: account_errors, " in page
