"""Whom not to text: the function says what ten lines of Python say, in any order of what happened."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smarttext_pipelines.core.customer_key import CustomerKey
from smarttext_pipelines.customers.suppressions import install_secret, list_suppressions, refresh
from smarttext_pipelines_tests.conftest import SOAK, Database

SECRET = "a secret of at least thirty-two characters"  # noqa: S105 - of the tests
KEY = CustomerKey.of_secret(SECRET)
NOW = datetime.now(UTC).replace(microsecond=0)
PERSON, SENDERS = "+15550100001", ("+15550900001", "+15550900002", "")
OWN, OTHER, WITHOUT = (UUID(int=n) for n in (1, 2, 3))
KINDS = ("STOP", "START", "21610", "30005", "30003", "delivered", "sent")
CHECK = "SELECT answer, since, why FROM public.check_sms_recipient(%s, %s)"
Event = tuple[int, str, str]


def expected(events: Sequence[Event], sender: str | None) -> str:
    """Return the answer from (hours ago, kind, sender of ours), as the contract says it."""
    stops = [(-ago, who) for ago, kind, who in events if kind in ("STOP", "21610") and who in (sender, "")]
    if sender is None:
        stops = [(-ago, who) for ago, kind, who in events if kind in ("STOP", "21610")]
    for at, who in stops:
        lifts = [-ago for ago, kind, by in events if kind == "START" and by == (who or sender or by)]
        if not any(lift > at for lift in lifts):
            return "opted_out"
    latest = {kind: max((-ago for ago, k, _ in events if k == kind), default=-999) for kind in KINDS}
    if latest["30005"] > latest["delivered"]:
        return "invalid_number"
    return "unreachable_now" if latest["30003"] > max(latest["delivered"], -24) else "allowed"


@pytest.fixture
def installed(database: Database) -> Database:
    for id_, number in zip((OWN, OTHER, WITHOUT), (*SENDERS[:2], None), strict=True):
        database.run("INSERT INTO public.businesses (id, name, twilio_phone) VALUES (%s, 'B', %s)", id_, number)
    with database.engine.begin() as connection:
        assert install_secret(connection, KEY)
    with database.engine.begin() as connection:
        assert not install_secret(connection, KEY)
    return database


def _tell(database: Database, event: Event, number: str = PERSON) -> None:
    hours, kind, sender = event
    at = NOW - timedelta(hours=hours)
    if kind in ("STOP", "START"):
        database.run(
            "INSERT INTO public.call_events (event_type, from_number, to_number, ts, payload)"
            " VALUES ('sms.inbound', %s, %s, %s, jsonb_build_object('Body', %s::text))",
            number, sender, at, f" {kind.lower()} ",
        )  # fmt: skip
        return
    status, code = (kind, None) if kind in ("delivered", "sent") else ("failed", kind)
    database.run(
        "INSERT INTO public.sms_events (from_number, to_number, status, error_code, message_sid, created_at)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        sender, number, status, code, uuid4().hex, at,
    )  # fmt: skip


def _refresh(database: Database) -> int:
    with database.engine.begin() as connection:
        return refresh(connection, NOW - timedelta(days=9))


def _answer(database: Database, business: UUID | None, number: str | None = PERSON) -> dict[str, Any]:
    return database.rows(CHECK, business, number)[0]


def test_any_order_of_what_happened_gives_the_answer_of_the_reference(installed: Database) -> None:
    sender = st.sampled_from((SENDERS[0], *SENDERS))
    event = st.tuples(
        st.integers(0, 30).map(lambda n: 2 * n + 1), st.sampled_from((*KINDS, "STOP", "START", "START")), sender
    )

    @settings(max_examples=200 if SOAK else 25)
    @given(st.lists(event, max_size=7), st.integers(0, 7))
    def agrees(events: list[Event], cut: int) -> None:
        installed.run("TRUNCATE public.sms_events, public.call_events, monitoring.recipient_marks")
        for part in (events[:cut], events[cut:]):
            for each in part:
                _tell(installed, each)
            _refresh(installed)
        assert _refresh(installed) == 0
        for business, sender in ((OWN, SENDERS[0]), (OTHER, SENDERS[1]), (WITHOUT, None), (None, None)):
            assert _answer(installed, business)["answer"] == expected(events, sender), (events, sender)

    agrees()


def test_the_answer_says_since_when_and_why_in_every_spelling(installed: Database) -> None:
    _tell(installed, (3, "21610", SENDERS[0]), "whatsapp:+1 (555) 010-0001")
    _refresh(installed)
    for number in (PERSON, "+1 555 0100001", "sms:+1.555.010.0001"):
        found = _answer(installed, OWN, number)
        assert found == {"answer": "opted_out", "since": NOW - timedelta(hours=3), "why": "21610"}
    assert _answer(installed, OTHER)["answer"] == "allowed"
    for none in (None, "", "Anonymous"):
        assert _answer(installed, OWN, none)["answer"] == "invalid_number"
    with installed.engine.connect() as connection:
        (row,) = list_suppressions(connection)
    assert (row["customer_key"], row["reason"], row["why"]) == (KEY.of_number(PERSON), "opted out", "21610")


def test_without_the_secret_nothing_is_allowed(database: Database) -> None:
    assert database.rows(CHECK, None, PERSON)[0]["answer"] == "unavailable"
    assert _refresh(database) == 0


def test_no_role_but_the_owner_reads_the_secret_and_anon_gets_nothing(installed: Database) -> None:
    with installed.server.connect(installed.name) as connection:
        rights = connection.execute(
            "SELECT r.rolname FROM pg_roles AS r WHERE NOT r.rolsuper AND r.rolname !~ '^pg_'"
            " AND (has_table_privilege(r.oid, 'monitoring.recipient_secret', 'SELECT')"
            " OR r.rolname IN ('anon', 'authenticated')"
            " AND has_function_privilege(r.oid, 'public.check_sms_recipient(uuid, text)', 'EXECUTE'))"
        ).fetchall()
    assert rights == []


def test_the_marks_hold_no_number(installed: Database) -> None:
    _tell(installed, (3, "STOP", SENDERS[0]))
    assert _refresh(installed) == 1
    assert PERSON[1:] not in str(installed.rows("SELECT * FROM monitoring.recipient_marks"))
