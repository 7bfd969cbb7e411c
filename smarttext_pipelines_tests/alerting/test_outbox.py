"""Delivery from the outbox: what one notification meets does not concern the others."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from smarttext_pipelines.alerting.channels.channel import Delivery, Outcome, Sent
from smarttext_pipelines.alerting.notify.deliver import deliver
from smarttext_pipelines.alerting.notify.message import Message
from smarttext_pipelines.alerting.notify.outbox import Enqueued, enqueue
from smarttext_pipelines.alerting.notify.timing import Timing
from smarttext_pipelines_tests.alerts import Recorder
from smarttext_pipelines_tests.conftest import Database


def _enqueue(engine: Engine, *notices: tuple[int, int, str, str]) -> None:
    """Put notices into the outbox: incident, number, kind and channel."""
    with engine.begin() as connection:
        for incident, sequence, kind, channel in notices:
            message = Message(kind, incident, "some_rule", "critical", "Business 1", "something failed")
            enqueue(connection, [Enqueued(incident, sequence, channel, "C1", message)])


class Breaking(Recorder):
    """A channel that raises instead of saying what became of a notification."""

    def send(self, delivery: Delivery) -> Outcome:
        msg = "No space left on device"
        raise OSError(msg)

    def find(self, delivery: Delivery) -> Sent | None:
        msg = "not what was expected"
        raise RuntimeError(msg)


def _statuses(database: Database) -> dict[str, tuple[str, str | None]]:
    rows = database.rows("SELECT channel, status, note FROM monitoring.notifications")
    return {row["channel"]: (row["status"], row["note"]) for row in rows}


def test_a_channel_that_raises_does_not_stop_those_after_it(database: Database) -> None:
    _enqueue(database.engine, (1, 1, "firing", "log"), (1, 1, "firing", "slack"))
    channels = [Breaking("log"), Recorder("slack")]
    at_once = Timing(reconcile_delay=timedelta(0), longest_wait=timedelta(0), most_critical_attempts=2)
    assert deliver(database.engine, channels).counts == {"unknown": 1, "sent": 1}
    assert _statuses(database) == {"log": ("unknown", "OSError"), "slack": ("sent", None)}
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE monitoring.notifications SET due_at = now() - interval '1 s'")
    assert deliver(database.engine, channels, timing=at_once).counts == {"dead": 1}
    assert _statuses(database)["log"][1] == "look-up: RuntimeError; given up after 2 attempts"


@pytest.mark.parametrize("end", [(), ((1, 2, "resolved", "slack"),)])
def test_what_waits_for_an_earlier_notice_is_not_due(database: Database, end: tuple[tuple[int, int, str, str]]) -> None:
    channels = [Breaking("slack")]
    _enqueue(database.engine, (1, 1, "firing", "slack"), *end)
    done = deliver(database.engine, channels)
    assert done.counts == {"unknown": 1}
    assert done.next_due_seconds == done.next_critical_seconds
    assert 80 < (done.next_due_seconds or 0) <= 90
