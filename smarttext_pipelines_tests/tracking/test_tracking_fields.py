"""Whatever stands in a field that decides nothing: the event is a row, and its deciding values are those told."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smarttext_pipelines import tracking
from smarttext_pipelines.tracking import cleaning
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.guardrail import add_businesses

AT = datetime(2026, 3, 8, 6, 59, 59, tzinfo=UTC)


class _Bad:
    """Raises whatever is asked of it."""

    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __len__ = __iter__ = __bool__ = __int__ = __index__ = __hash__ = __str__  # type: ignore[assignment]

    def __eq__(self, _: object) -> bool:
        raise ZeroDivisionError


class _BadMapping(dict[Any, Any]):
    def items(self) -> Any:
        raise ZeroDivisionError


class _Kind(Enum):
    odd = math.nan


def _cycle() -> dict[str, Any]:
    found: dict[str, Any] = {"a": 1}
    found["again"] = [found, found]
    return found


def _deep(levels: int) -> Any:
    found: Any = "bottom"
    for _ in range(levels):
        found = [found]
    return {"deep": found}


NASTY = [
    "a\x00b", "\ud83d", "\udc00\ud83d", "x" * 300_000, "\U0001f600" * 200_000, "\x00" * 100_000, "grep \\u0000 file",
    math.nan, math.inf, -math.inf, 1e308, 10**400, -(10**5000), 10**200_000, Decimal("NaN"), Decimal("1e999999"),
    AT.replace(tzinfo=None), datetime.max.replace(tzinfo=UTC), time(1), timedelta(9), UUID(int=7), b"\xff\x00",
    object(), _Bad(), _BadMapping(a=1), _Kind.odd, _Kind, {1, 2}, (1, 2), [[]] * 50_000, _cycle(), _deep(90),
    _deep(5000), {"x": {"y": "z\x00"}}, {"\x00key\ud800": 1, "": 2, 7: 8, None: 9, True: 1, (1, 2): 3},
    {"k" * 300_000: 1}, {"text": "x" * 300_000}, {"n": math.nan, "i": -math.inf, "at": AT}, True, 0, "", [], {},
    {f"key {n}": "value" * 10 for n in range(20_000)}, float, print, {"bad": _Bad(), "good": 1}, range(3), iter([1]),
]  # fmt: skip
NASTY_ONES = st.integers(0, len(NASTY) - 1).map(lambda n: NASTY[n])
ANYTHING = st.one_of(
    NASTY_ONES,
    st.text(st.characters(codec=None), max_size=40),
    st.binary(max_size=9),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.datetimes(),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.floats(), NASTY_ONES, st.text(max_size=5)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    ),
)
SIDE = {
    "sms": ("error_message", "body_length", "payload", "error_code"),
    "usage": ("metadata", "model", "input_tokens", "output_tokens"),
    "alert": ("message_content", "detection_source", "error_message"),
    "call": ("call_status", "payload", "from_", "to"),
}


@pytest.fixture(autouse=True)
def _own_process(tmp_path: Path) -> Iterator[None]:
    yield
    tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=tmp_path / "unused")


def tell(kind: str, business: UUID, name: str, side: dict[str, Any]) -> UUID | None:
    if kind == "sms":
        given: dict[str, Any] = {"from_": "+15550100", "to": "+15550101", "status": "Failed", "message_sid": name}
        return tracking.track_sms_event(business_id=business, occurred_at=AT, **given, **side)
    if kind == "usage":
        given = {"endpoint": name, "tokens_used": 4321, "cost_estimate": Decimal("0.123456"), "request_id": name}
        return tracking.track_openai_usage(business_id=business, occurred_at=AT, **given, **side)
    if kind == "alert":
        given = {"owner_phone": "+15550102", "customer_phone": "+15550103", "alert_type": "missed_call"}
        side = {"message_content": "call back", **side}
        return tracking.track_owner_alert(business_id=business, message_sid=name, occurred_at=AT, **given, **side)
    return tracking.track_call_event(
        event_type="voice.missed", call_sid=name, business_id=business, occurred_at=AT, **side
    )


DECIDING = {
    "sms": "SELECT id FROM public.sms_events WHERE status = 'Failed' AND message_sid = %s "
    "AND from_number = '+15550100' AND to_number = '+15550101' AND business_id = %s AND created_at = %s",
    "usage": "SELECT id FROM public.api_usage WHERE tokens_used = 4321 AND cost_estimate = 0.123456 AND endpoint = %s "
    "AND business_id = %s AND created_at = %s AND request_id = endpoint",
    "alert": "SELECT id FROM public.owner_alerts WHERE message_sid = %s AND business_id = %s AND created_at = %s "
    "AND owner_phone = '+15550102' AND customer_phone = '+15550103' AND alert_type = 'missed_call' AND delivered",
    "call": "SELECT id FROM public.call_events WHERE call_sid = %s AND business_id = %s AND ts = %s "
    "AND event_type = 'voice.missed'",
}


def check(database: Database, business: UUID, told: list[tuple[str, str, UUID | None]]) -> None:
    assert tracking.flush(120)
    counts = tracking.counters()
    assert (counts.rejected, counts.written) == (0, len(told))
    with database.server.connect(database.name) as connection:
        for kind, name, id_ in told:
            assert connection.execute(DECIDING[kind], (name, business, AT)).fetchall() == [(id_,)]


@pytest.mark.parametrize("kind", SIDE)
def test_no_value_of_a_side_field_decides_over_an_event(database: Database, tmp_path: Path, kind: str) -> None:
    business = add_businesses(database, 1)[0]
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    told: list[tuple[str, str, UUID | None]] = []

    def one(side: dict[str, Any]) -> None:
        name = f"{kind}{len(told)}"
        told.append((kind, name, tell(kind, business, name, side)))

    for field in SIDE[kind]:
        for value in NASTY:
            one({field: value})

    @settings(max_examples=2000 if SOAK else 60)
    @given(st.fixed_dictionaries({}, optional=dict.fromkeys(SIDE[kind], ANYTHING)))
    def any_values(side: dict[str, Any]) -> None:
        one(side)

    any_values()
    check(database, business, told)
    assert tracking.counters().trimmed > 0


def test_what_is_kept_of_a_side_field_is_as_much_as_can_be(database: Database, tmp_path: Path) -> None:
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    told: dict[str, Any] = {"from_": "+15550100", "to": "+15550101", "status": "queued"}
    payload = {
        "body": "a\x00b \ud83d",
        "n": math.nan,
        "at": AT,
        "ok": [1, 2.5, None, True],
        "big": "x" * 400_000,
        "z": 1,
    }
    tracking.track_sms_event(**told, error_message="bad\x00", payload=payload, error_code=30007.0)
    tracking.track_sms_event(**told, payload={"body": "grep \\u0000 file", "emoji": "\U0001f600 \u00e9"})
    assert tracking.flush(10)
    first, second = database.rows(
        "SELECT payload, error_message, error_code FROM public.sms_events ORDER BY error_code"
    )
    assert first["payload"] | {"big": ""} == {
        "body": "a\ufffdb \ufffd", "n": None, "at": "2026-03-08 06:59:59+00:00", "ok": [1, 2.5, None, True], "big": "",
    }  # fmt: skip
    assert 250_000 < len(first["payload"]["big"]) < 262_144
    assert (first["error_message"], first["error_code"]) == ("bad\ufffd", "30007")
    assert second["payload"] == {"body": "grep \\u0000 file", "emoji": "\U0001f600 \u00e9"}
    assert tracking.counters().trimmed == 1


@pytest.mark.parametrize("number", ["anonymous", "Restricted", "+1", "", "+", "x" * 5000, "a\x00", 15550100, "😀"])
def test_a_telephone_number_that_is_none_is_kept_as_told_and_counted(
    database: Database, tmp_path: Path, number: Any
) -> None:
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    tracking.track_call_event(event_type="voice.missed", from_=number)
    tracking.track_sms_event(from_="+15550100", to=number, status="queued")
    tracking.track_sms_event(from_="+15550100", to="+15550101", status="queued")
    assert tracking.flush(10)
    kept = cleaning.clean(str(number)[:255])
    assert database.rows("SELECT from_number FROM public.call_events") == [{"from_number": kept}]
    assert len(database.rows("SELECT FROM public.sms_events WHERE to_number = %s", kept)) == 1
    expected = {"": 1, 15550100: 0}.get(number, 2)
    assert tracking.counters().odd_numbers == expected
    told = "SELECT odd_numbers, rejected FROM monitoring.tracking_writers"
    assert database.rows(told) == [{"odd_numbers": expected, "rejected": 0}]


def test_keys_that_are_too_long_or_hold_a_nul_stay_different_and_keep_their_end(
    database: Database, tmp_path: Path
) -> None:
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    for last in ("1", "1", "2"):
        sid, status = "SM\x00" + "\u00e9" * 5000 + last, "Queued\x00" + "\u00e9" * 5000
        tracking.track_sms_event(
            from_="+15550100", to="+15550101", status=status, message_sid=sid, request_id=UUID(int=5)
        )
    tracking.track_sms_event(from_="+1", to="+1", status="queued", request_id="q" * 90_000 + "-owner")
    assert tracking.flush(10)
    assert database.rows("SELECT count(DISTINCT message_sid) AS n FROM public.sms_events") == [{"n": 2}]
    assert database.rows("SELECT DISTINCT left(status, 8) AS s FROM public.sms_events WHERE message_sid > ''") == [
        {"s": "Queued\ufffd\u00e9"}
    ]
    assert len(database.rows("SELECT FROM public.sms_events WHERE request_id LIKE 'q%%-owner'")) == 1
    assert len(database.rows("SELECT FROM public.sms_events WHERE request_id = %s", str(UUID(int=5)))) == 3
