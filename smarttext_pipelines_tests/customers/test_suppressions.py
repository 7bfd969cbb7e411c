"""Whom not to text: what the function answers, whom it answers, and that it never permits what it could not read."""

import json
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smarttext_pipelines.core.phones import mask_phone
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.customers.told import (
    IN,
    OUT,
    RECIPIENT,
    SENDERS,
    TEXTS,
    Move,
    as_events,
    in_spite,
    opted_out,
)
from smarttext_pipelines_tests.events import insert_events
from smarttext_pipelines_tests.legacy import acting_as
from smarttext_pipelines_tests.schema.test_access import session_of
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, business, call_event, events, sms_event
from smarttext_pipelines_tests.worlds import build

FIRST, SECOND, THIRD = BUSINESS_IDS[:3]
CHECK = "SELECT * FROM public.check_sms_recipient(%s, %s)"
LIST = "SELECT * FROM monitoring.suppressed_recipients(NULL)"
NOW = datetime.now(UTC)
moves = st.lists(
    st.builds(Move, st.integers(0, 12), st.sampled_from((*OUT, *IN, "chat", *TEXTS)), st.integers(0, 1)), max_size=14
)


def ago(**length: float) -> datetime:
    return NOW - timedelta(**length)


def text(number: int, at: datetime, **columns: Any) -> dict[str, Any]:
    return sms_event(number, at, **{"from_number": SENDERS[0], "to_number": RECIPIENT, **columns})


def failed(number: int, at: datetime, code: str, **columns: Any) -> dict[str, Any]:
    return text(number, at, **{"status": "undelivered", "error_code": code, **columns})


def said(number: int, at: datetime | None, **columns: Any) -> dict[str, Any]:
    told = {"event_type": "sms.inbound", "from_number": RECIPIENT, "to_number": SENDERS[0], **columns}
    return call_event(number, at, **told)


def put(database: Database, *, texts: Any = (), inbound: Any = (), businesses: Any = ()) -> None:
    owners = businesses or [business(n + 1, twilio_phone=sender) for n, sender in enumerate(SENDERS)]
    with database.engine.begin() as connection:
        insert_events(connection, events(businesses=owners, sms_events=texts, call_events=inbound))


def verdict(database: Database, whose: UUID | None = FIRST, number: str | None = RECIPIENT) -> str:
    (row,) = database.rows(CHECK, whose, number)
    return str(row["verdict"])


@settings(max_examples=2000 if SOAK else 60)
@given(moves, st.randoms(use_true_random=False))
def test_any_order_of_stop_start_refusals_and_deliveries_gives_what_the_reference_says(
    database: Database, made: list[Move], chance: random.Random
) -> None:
    right = opted_out(made)
    with database.engine.connect() as connection:
        insert_events(connection, as_events(made, chance))
        for sender, whose in enumerate((FIRST, SECOND)):
            row = connection.exec_driver_sql(CHECK, (whose, RECIPIENT)).one()
            expected = ("opted_out", right[sender], SENDERS[sender]) if sender in right else ("allowed", None, None)
            assert (row.verdict, row.since, row.from_number) == expected
        listed = connection.exec_driver_sql(LIST).all()
        assert {r.sender: r.since for r in listed if r.verdict == "opted_out"} == {
            SENDERS[sender]: since for sender, since in right.items()
        }
        assert {(r.sender, r.sent_in_spite) for r in listed if r.sent_in_spite} == {
            (SENDERS[sender], count) for sender, count in in_spite(made).items()
        }
        assert {r.business_id for r in listed} <= {FIRST, SECOND}


def test_a_report_of_a_text_of_before_ends_no_opt_out(database: Database) -> None:
    sid = f"SM{1:032x}"
    sent = [text(1, ago(hours=3), message_sid=sid), text(2, ago(hours=1), message_sid=sid, status="delivered")]
    put(database, texts=sent, inbound=[said(1, ago(hours=2), payload={"Body": "stop"})])
    assert verdict(database) == "opted_out"
    report = {"request_id": "twilio-report", "message_sid": f"SM{2:032x}", "status": "delivered"}
    put(database, businesses=[business(3)], texts=[text(3, ago(minutes=5), **report)])
    assert verdict(database) == "opted_out"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"Body": "Unsubscribe"}, "opted_out"),
        ({"Body": "stop please"}, "allowed"),
        ({"Body": "BASTA", "OptOutType": "STOP"}, "opted_out"),
        ({"Body": "stop", "OptOutType": "HELP"}, "allowed"),
        ({"num_segments": "1"}, "allowed"),
        (["STOP"], "allowed"),
        (None, "allowed"),
    ],
)
def test_what_an_inbound_text_says(database: Database, payload: Any, expected: str) -> None:
    put(database, inbound=[said(1, ago(hours=2), payload=payload), said(2, None, payload={"Body": "hello"})])
    assert verdict(database) == expected


def test_a_stop_without_a_time_is_one_until_anything_ends_it(database: Database) -> None:
    put(database, inbound=[said(1, None, payload={"Body": "STOP"})])
    (row,) = database.rows(CHECK, FIRST, RECIPIENT)
    assert (row["verdict"], row["since"], row["reason"]) == ("opted_out", None, "replied STOP")
    put(database, businesses=[business(3)], inbound=[said(2, ago(days=1), payload={"Body": "START"})])
    assert verdict(database) == "allowed"


def test_an_opt_out_concerns_the_businesses_whose_sender_it_may_be(database: Database) -> None:
    stop = said(1, ago(days=1), payload={"Body": "STOP"})
    put(database, inbound=[stop], businesses=[
        business(1, twilio_phone=SENDERS[0]), business(2, twilio_phone=SENDERS[1]), business(3)
    ])  # fmt: skip
    # The sender is the first one's alone; the others never used it with this recipient.
    assert [verdict(database, whose) for whose in (FIRST, SECOND, THIRD, None)] == [
        "opted_out", "allowed", "allowed", "opted_out"
    ]  # fmt: skip
    put(database, businesses=[business(4)], texts=[text(1, ago(days=2), business_id=THIRD)])
    assert verdict(database, THIRD) == "opted_out"
    # A number that no business has may be one that many share.
    database.run("UPDATE public.businesses SET twilio_phone = NULL WHERE id = %s", FIRST)
    assert verdict(database, SECOND) == "opted_out"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([failed(1, ago(days=300), "21211")], "invalid_number"),
        ([failed(1, ago(days=3), "30006"), text(2, ago(days=2), status="delivered")], "allowed"),
        ([failed(1, ago(days=1), "30006"), text(2, ago(days=2), status="delivered")], "invalid_number"),
        ([failed(1, ago(hours=23), "30003")], "unreachable_now"),
        ([failed(1, ago(hours=25), "30003")], "allowed"),
        ([failed(1, ago(hours=3), "30008"), text(2, ago(hours=2), status="read")], "allowed"),
        ([failed(1, ago(hours=3), "30008"), text(2, ago(hours=2), status="sent")], "unreachable_now"),
        ([failed(1, ago(hours=3), "30003"), failed(2, ago(hours=4), "21614")], "invalid_number"),
        ([failed(1, ago(hours=3), "21614"), failed(2, ago(hours=4), "21610")], "opted_out"),
        ([failed(1, ago(hours=3), "30007"), failed(2, ago(hours=4), "12345")], "allowed"),
    ],
)
def test_invalid_and_unreachable_numbers(database: Database, texts: Any, expected: str) -> None:
    put(database, texts=texts)
    assert verdict(database) == expected
    listed = {row["verdict"] for row in database.rows(LIST)}
    assert expected in listed or (expected == "allowed" and not listed)


@pytest.mark.parametrize("number", [None, "", "anonymous", "+266696687", "00266696687", "abc", "12", "+1555DOVER"])
def test_what_is_no_number_is_not_texted(database: Database, number: str | None) -> None:
    assert verdict(database, None, number) == "invalid_number"


ROLES = {"service_role": True, "smarttext_pipeline": True, "anon": False, "authenticated": False,
         "smarttext_reader": False, "smarttext_writer": False, "smarttext_retention": False}  # fmt: skip


@pytest.mark.parametrize(("role", "may"), ROLES.items())
def test_only_the_service_role_and_the_pipeline_may_ask(database: Database, role: str, may: bool) -> None:
    migrate(database.engine, ZoneInfo("UTC"), with_roles=True)
    put(database, inbound=[said(1, ago(days=1), payload={"Body": "STOP"})])
    with session_of(database, role) as connection:
        if may:
            assert connection.execute(CHECK, (FIRST, RECIPIENT)).fetchone()[0] == "opted_out"  # type: ignore[index]
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege) as refusal:
                connection.execute(CHECK, (FIRST, RECIPIENT))
            assert RECIPIENT[2:] not in str(refusal.value)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE public.sms_events RENAME TO gone",
        "ALTER TABLE public.call_events RENAME TO gone",
        "ALTER TABLE public.call_events DROP COLUMN payload CASCADE",
        "DROP VIEW monitoring.sms_events CASCADE",
        "ALTER FUNCTION public.check_sms_recipient(uuid, text) OWNER TO service_role;"
        "GRANT USAGE ON SCHEMA monitoring TO service_role; GRANT SELECT ON ALL TABLES IN SCHEMA monitoring, public"
        " TO service_role; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA monitoring TO service_role",
    ],
)
def test_what_cannot_be_read_is_an_error_that_tells_no_number(database: Database, statement: str) -> None:
    put(database)
    assert verdict(database) == "allowed"
    database.run(statement)
    with pytest.raises(psycopg.Error) as refusal:
        verdict(database)
    assert RECIPIENT[2:] not in str(refusal.value)


def test_an_unknown_business_is_an_error(database: Database) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="there is no such business"):
        verdict(database, uuid4())


@pytest.mark.parametrize("kind", ["several", "several, seen through views", "columns of their own", "partitioned"])
def test_tables_of_other_shapes_give_the_same_answers(empty_database: Database, kind: str) -> None:
    build(empty_database, kind)
    migrate(empty_database.engine, ZoneInfo("UTC"))
    empty_database.run("INSERT INTO public.businesses (id, name, twilio_phone) VALUES (%s, 'B', %s)", FIRST, SENDERS[0])
    assert verdict(empty_database) == "allowed"
    empty_database.run(
        "INSERT INTO public.sms_events (from_number, to_number, status, error_code) VALUES (%s, %s, 'failed', 21610)",
        SENDERS[0], RECIPIENT,
    )  # fmt: skip
    assert verdict(empty_database) == "opted_out"


def test_the_events_of_a_number_are_found_by_index(database: Database) -> None:
    scans = "SELECT pg_stat_get_xact_numscans(%s::regclass)"
    with database.server.connect(database.name) as connection, connection.transaction():
        connection.execute("SET LOCAL enable_seqscan = off")
        connection.execute(CHECK, (None, RECIPIENT))
        by_index = [
            connection.execute(scans, [f"public.{index}"]).fetchone()
            for index in ("sms_events_to_number_idx", "call_events_from_number_idx", "sms_events", "call_events")
        ]
    assert by_index == [(1,), (1,), (0,), (0,)]


def _crowd(database: Database) -> None:
    put(
        database,
        texts=[
            failed(1, ago(days=3), "21610", business_id=FIRST),
            failed(2, ago(days=2), "21610", business_id=FIRST),
            failed(3, ago(days=1), "30006", business_id=SECOND, from_number=SENDERS[1]),
        ],
        inbound=[said(1, ago(days=1), payload={"Body": "STOP"}, to_number=SENDERS[1])],
    )


def test_the_command_lists_who_is_suppressed_and_who_was_texted_in_spite(
    database: Database, smarttext: Callable[..., tuple[int, str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    _crowd(database)
    code, shown, errors = smarttext("customers", "suppressions")
    assert code == 0
    assert "3 suppressions now; 1 text sent in spite of an opt-out" in shown
    for form in ("--csv", "--json"):
        printed = smarttext("customers", "suppressions", form)[1]
        assert mask_phone(RECIPIENT) in printed
        shown += printed
    found = json.loads(smarttext("customers", "suppressions", "--business", "Business 1", "--json")[1])
    assert [(row["verdict"], row["sent_in_spite"], row["business"]) for row in found] == [
        ("opted_out", 1, "Business 1")
    ]
    assert smarttext("customers", "suppressions", "--csv", "--json")[2] == "error: use either --csv or --json\n"
    database.run("ALTER TABLE public.call_events RENAME TO gone")
    code, printed, refusal = smarttext("customers", "suppressions")
    assert code != 0
    for number in (RECIPIENT, *SENDERS):
        assert number[2:] not in shown + errors + printed + refusal + caplog.text


def test_the_reader_sees_masked_numbers_only(database: Database) -> None:
    migrate(database.engine, ZoneInfo("UTC"), with_roles=True)
    _crowd(database)
    from smarttext_pipelines.customers.suppressions import find_suppressions

    with acting_as(database, "smarttext_reader") as engine, engine.connect() as connection:
        found = find_suppressions(connection)
        assert {each.recipient for each in found} == {mask_phone(RECIPIENT)}
        assert {each.sender for each in found} == {*map(mask_phone, SENDERS), None}
    with session_of(database, "smarttext_reader") as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute(LIST)
