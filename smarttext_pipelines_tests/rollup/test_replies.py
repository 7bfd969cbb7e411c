"""Missed calls and texts, written side by side in any order, with links in any order."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from smarttext_pipelines.explain import Reading, explain_call
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines_tests.agreement import AS_OF, AT, DAYS, ZONE, require_agreement
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.events import cells, replace_events, roll_up_all
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, Events, Row, business, call_event, events, sms_event

CALLERS = ("+15550100001", "+15550100002")
ONE = {"business_id": BUSINESS_IDS[0]}


def _seconds(low: float, high: float) -> st.SearchStrategy[timedelta]:
    return st.floats(low, high).map(lambda s: timedelta(milliseconds=round(s * 1000)))


_EDGES = (-86400, -5.001, -5, -4.999, -0.01, 0, 300, 300.001, 86400, 86400.001)
_NEAR = st.one_of(
    st.sampled_from(
        [timedelta(seconds=s) for s in (-5.001, -5, -4.999, -0.01, 0, 300, 300.001, 86400, 86400.001, -86400)]
    ),
    _seconds(-10, 10),
    _seconds(-100_000, 100_000),
)
_BEGIN = st.sampled_from(
    [AT, *(datetime(2026, 3, d, tzinfo=UTC) + timedelta(seconds=s) for d in (10, 11) for s in (-3, -0.01, 0, 2))]
)


@st.composite
def _calls_and_texts(draw: Any) -> Events:
    calls, texts = [], []
    for number in range(draw(st.integers(1, 8))):
        began, caller = draw(_BEGIN), draw(st.sampled_from(CALLERS))
        sid = draw(st.sampled_from([f"CA{number}", f"CA{number}", None, "undefined"]))
        owner = draw(st.sampled_from([BUSINESS_IDS[0], BUSINESS_IDS[0], BUSINESS_IDS[1], None]))
        common = {"call_sid": sid, "business_id": owner}
        spelled = draw(
            st.sampled_from([caller, caller, f"whatsapp:{caller}", f"{caller[:5]} {caller[5:8]}-{caller[8:]}"])
        )
        calls.append({**common, "ts": began, "event_type": "voice.missed", "from_number": spelled})
        if draw(st.booleans()):
            ringing = timedelta(seconds=draw(st.integers(-30, 5)))
            calls.append({**common, "ts": began + ringing, "event_type": "voice.inbound", "from_number": spelled})
        for _ in range(draw(st.integers(0, 3))):
            at = began + draw(_NEAR)
            message = {
                "message_sid": draw(st.sampled_from([f"SM{len(texts)}", f"SM{number}", ""])),
                "business_id": draw(st.sampled_from([owner, owner, BUSINESS_IDS[1], None])),
                "to_number": draw(st.sampled_from([caller, caller, spelled, CALLERS[0], ""])),
                "request_id": draw(st.sampled_from([sid, sid, None, "CA0", "CA1", "undefined"])),
                "status": draw(st.sampled_from(["delivered", "delivered", "queued", "failed", "undelivered"])),
            }
            texts.append({**message, "created_at": at})
            if draw(st.booleans()):
                later = {"created_at": at + timedelta(hours=draw(st.sampled_from([0, 1, 30, 70, 100])))}
                request = draw(st.sampled_from([message["request_id"], "twilio-report", "CA0"]))
                texts.append({**message, **later, "status": "delivered", "request_id": request})
    calls, texts = draw(st.permutations(calls)), draw(st.permutations(texts))
    return events(
        businesses=[business(1), business(2)],
        call_events=[call_event(n, **row) for n, row in enumerate(calls)],
        sms_events=[sms_event(n, **row) for n, row in enumerate(texts)],
    )


def test_replies_are_those_of_the_reference_in_any_order_of_rows_and_links(database: Database, tmp_path: Path) -> None:
    @settings(max_examples=1000 if SOAK else 4)
    @given(found=_calls_and_texts())
    def agrees(found: Events) -> None:
        require_agreement(database, found, tmp_path)

    agrees()


def _state(database: Database, *texts: Row, **call: Any) -> str:
    columns = {"call_sid": "CA1", "from_number": CALLERS[0], "event_type": "voice.missed", **ONE, **call}
    given_texts = [
        sms_event(n, **{"message_sid": f"SM{n}", "status": "delivered", "to_number": CALLERS[0], **ONE, **row})
        for n, row in enumerate(texts)
    ]
    at = columns.pop("ts", AT)
    replace_events(
        database.engine,
        events(businesses=[business(1)], call_events=[call_event(1, at, **columns)], sms_events=given_texts),
    )
    roll_up_all(database.engine, DAYS, metrics={"missed_call_replies": METRICS["missed_call_replies"]}, as_of=AS_OF)
    (row,) = cells(database.engine, "missed_call_replies")
    states = ("replied_in_time_count", "replied_late_count", "unreplied_count", "reply_unknown_count")
    return next(state for state in states if row[state])


def test_a_text_that_was_written_just_before_its_call_answers_it(database: Database) -> None:
    ago = timedelta
    assert _state(database, {"created_at": AT - ago(milliseconds=10)}) == "replied_in_time_count"
    assert _state(database, {"created_at": AT - ago(seconds=5)}) == "replied_in_time_count"
    assert _state(database, {"created_at": AT - ago(seconds=6)}) == "unreplied_count"
    named = {"request_id": "CA1"}
    assert _state(database, {"created_at": AT - ago(hours=20), **named}) == "replied_in_time_count"
    assert _state(database, {"created_at": AT - ago(hours=25), **named}) == "unreplied_count"
    midnight = datetime(2026, 3, 10, tzinfo=UTC)
    assert _state(database, {"created_at": midnight - ago(seconds=1)}, ts=midnight) == "replied_in_time_count"
    spelled = {"created_at": AT + ago(minutes=1), "to_number": "whatsapp:+1 (555) 010-0001"}
    assert _state(database, spelled) == "replied_in_time_count"
    with database.engine.begin() as connection:
        told = explain_call(connection, "CA1", Reading(ZONE, settle_days=4, now=AS_OF, reply_minutes=5))
    assert told.sentences[0].startswith("It counts as in time, 60 s after")
