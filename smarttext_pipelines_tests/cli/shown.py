"""Every command of the tree: those that show something, with examples that show rows, and those that do something."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
from sqlalchemy import text

from smarttext_pipelines.anomalies.episodes import mark_days
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.lake.export import export_days
from smarttext_pipelines.lake.lake_day import Places
from smarttext_pipelines.lake.lake_target import LakeTarget
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.retention.run import Retention, archive_days
from smarttext_pipelines.sample import SampleSpec, load_sample
from smarttext_pipelines.settings.customer_secret import FILE
from smarttext_pipelines_tests.alerts import World, business_id, only
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET, insert_events, roll_up_all
from smarttext_pipelines_tests.strategies import api_call, call_event, owner_alert
from smarttext_pipelines_tests.told_commands import every_command

DAY, OLD = date(2026, 3, 16), date(2026, 1, 5)
LONG_NAME = "Hartley Plumbing, Heating & Drains of Dover Street (formerly Hartley & Sons) 株式会社ハートリー"
SAID = "the tap in the kitchen leaks"
"""What messages say, which nothing shows."""

CALL, TEXT, CALLER = "CA" + "0" * 31 + "7", "SM" + "0" * 31 + "1", "+15558887001"
_DATE = ("--date", str(DAY))
_SPAN = ("--from", "2026-03-14", "--to", str(DAY))
_AT = datetime(2026, 3, 16, 11, 40, tzinfo=UTC)

SHOWS: dict[str, tuple[tuple[str, ...], ...]] = {
    "doctor": (("--no-services",), ("--application", "--no-services")),
    "access": ((),),
    "stats": (_DATE, _SPAN),
    "digest": (_DATE, (*_DATE, "--week")),
    "report": (("--business", str(business_id(1)), "--month", "2026-03"),),
    "explain": (
        ("calls_missed", "--all", *_DATE), ("sms_failure_count", "--all", *_DATE), ("is_final", "--all", *_DATE),
        ("openai_cost_estimate", "--all", *_DATE), ("owner_alerts_sent", "--all", *_DATE), (CALL,), (TEXT,), (CALLER,),
        ("messages", "--all", "--month", "2026-03"), ("customer", CALLER, *_DATE),
    ),
    "reconcile": (("list.csv", "--month", "2026-03"),),
    "economics": (("--month", "2026-03"),),
    "budgets show": ((),),
    "budgets replay": (("--tokens", "100", *_SPAN),),
    "budgets propose": (_SPAN,),
    "budgets tokens": (_SPAN,),
    "alerts list": ((), ("--all",)),
    "alerts show": (("1",),),
    "alerts runbook": (("1",),),
    "alerts why": (("1",),),
    "alerts silences": ((), ("--all",)),
    "alerts metrics": ((),),
    "alerts validate": ((), ("rules.yaml",)),
    "alerts backtest": (("--from", str(DAY), "--to", str(DAY), "--every", "3h", "--rules", "rules.yaml"),),
    "anomalies list": (_DATE,),
    "anomalies explain": (("1",),),
    "anomalies marks": ((),),
    "anomalies backtest": (("--days", "60"),),
    "customers suppressions": ((),),
    "customers list": (("--business", str(business_id(1)), *_SPAN),),
    "customers robocallers": (_DATE,),
    "customers show": ((CALLER, *_SPAN),),
    "retention status": ((),),
    "retention verify": ((),),
    "lake status": ((), ("--files",)),
    "lake verify": ((),),
}  # fmt: skip
"""Examples of each command that shows something: its arguments, in the database of ``fill``."""

DOES = frozenset({
    "up", "web", "receiver", "sampler", "migrate", "change-zone", "rollup", "update-daily-stats", "simulate", "erase",
    "cleanup", "reset-openai", "budgets set", "budgets grant", "alerts silence", "alerts unsilence", "alerts evaluate",
    "alerts deliver", "alerts ack", "alerts resolve", "alerts test", "anomalies verdict", "anomalies mark",
    "retention run", "retention restore", "lake export", "customers new-key",
})  # fmt: skip
"""What changes, sends or starts something, and says so in a line."""


def leaves(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Return every command that can be run, with the words that are typed for it."""
    nested = getattr(command or every_command(), "commands", None)
    if nested is None:
        yield " ".join(path), command
        return
    for name, each in nested.items():
        yield from leaves(each, (*path, name))


def examples() -> list[tuple[str, ...]]:
    """Return every example as it is typed."""
    return [(*name.split(), *arguments) for name, some in SHOWS.items() for arguments in some]


def fill(database: Database, folder: Path) -> None:
    """Give a database rows for every example, and a folder the files that they name."""
    (folder / "data").mkdir()
    (folder / "data" / FILE).write_bytes(CUSTOMER_SECRET)
    spec = SampleSpec(3, 6, 60, 7, DAY, datetime(2026, 3, 17, tzinfo=UTC))
    load_sample(database.url, spec, lambda _day, _rows: None)
    world = World(database)
    world.businesses(2)
    world.rules = only("sms_failure_rate", for_=1)
    world.begin()
    world.failing()
    _add_events(world)
    database.run("UPDATE public.businesses SET name = %s WHERE id = %s", LONG_NAME, business_id(1))
    world.tick()
    assert world.incidents("id") == [(1,)]
    roll_up_all(database.engine, DayRange(date(2026, 3, 14), DAY))
    # Whether a number is a robocaller is known of a day whose seven days were rolled up by customer.
    by_customer = {"customer_days": METRICS["customer_days"]}
    roll_up_all(database.engine, DayRange(date(2026, 3, 10), date(2026, 3, 13)), metrics=by_customer)
    roll_up_all(database.engine, DayRange(OLD, OLD + timedelta(days=5)))
    _add_what_people_said(database)
    stays = (datetime.now(UTC).date() - date(2026, 2, 1)).days
    retention = Retention(ZoneInfo("UTC"), 4, stays, deletes=True, tables=("owner_alerts",))
    archive = ArchiveTarget(str(folder / "archive"))
    days = DayRange(DAY, DAY)
    assert export_days(database.engine, Places(LakeTarget(str(folder / "lake")), archive), days, tables=("sms_events",))
    assert archive_days(database.engine, archive, retention, done=lambda _day: None, begun=lambda _count: None)
    (folder / "list.csv").write_text(f"Sid,Status,SentDate,Price\n{TEXT},failed,{_AT:%Y-%m-%dT%H:%M:%SZ},-0.0079\n")
    rule = "sms_failures_of_a_business_with_a_name_as_long_as_they_come"
    (folder / "rules.yaml").write_text(f"rules:\n  {rule}:\n    metric: sms_failure_rate\n    threshold: 10\n")


def _add_events(world: World) -> None:
    ours = {"business_id": business_id(1)}
    sender = "+15557770001"
    now = datetime.now(UTC)
    stop = {"event_type": "sms.inbound", "from_number": CALLER, "to_number": sender, "payload": {"Body": "STOP"}}
    missed = {"event_type": "voice.missed", "call_sid": CALL, "from_number": CALLER}
    refused = {"to_number": CALLER, "status": "undelivered", "error_code": "21610"}
    often = [
        call_event(9100 + n, _AT, call_sid=f"CR{n}", from_number="+15558887002", payload={}, **ours) for n in range(21)
    ]
    usage = {"tokens_used": 1_234_567, "cost_estimate": 12, "model": "gpt-4o", **ours}
    with world.database.engine.begin() as connection:
        insert_events(
            connection,
            {
                "call_events": [call_event(9001, _AT - timedelta(hours=1), **stop, **ours),
                                call_event(9002, _AT, **missed, **ours, payload={}), *often],
                "api_usage": [api_call(9000 + n, at, reset_date=at.date(), **usage) for n, at in enumerate((_AT, now))],
                "owner_alerts": [owner_alert(9001, datetime.combine(OLD, time(12), UTC), message_content=SAID, **ours)],
            },
        )  # fmt: skip
    world.send(1, **refused)
    world.send(2, to_number=CALLER, payload={"body": SAID}, error_message=SAID)


def _add_what_people_said(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text(
            "INSERT INTO monitoring.anomalies (day, metric, business_id, side, window_days, found, whole, expected,"
            " low, high, nats) VALUES (:day, 'texts_failed', :business, 1, 1, 24, 64, 2, 0, 6, 30)"
        ), {"day": DAY, "business": business_id(1)})  # fmt: skip
        connection.execute(text("INSERT INTO monitoring.anomaly_days (day, tested_count) VALUES (:day, 40)"),
                           {"day": DAY})  # fmt: skip
        mark_days(connection, business_id(1), DAY - timedelta(days=30), DAY - timedelta(days=20), "closed: " * 9, "Ann")
        connection.execute(text(
            "INSERT INTO monitoring.silences (rule, scope, author, reason, starts_at, ends_at) VALUES"
            " ('sms_failure_rate', :scope, 'Ann', :why, '2026-03-16', '2126-03-17')"
        ), {"scope": f"business:{business_id(1)}", "why": "the carrier repairs it and tells us then " * 3})  # fmt: skip
