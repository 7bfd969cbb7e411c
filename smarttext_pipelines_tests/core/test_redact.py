"""What must never leave the process, and what must stay readable."""

import json
import logging
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smarttext_pipelines.core.phones import mask_phone
from smarttext_pipelines.core.redact import scrub, scrub_tree
from smarttext_pipelines.sentry.logs import scrub_logs
from smarttext_pipelines_tests.conftest import SOAK
from smarttext_pipelines_tests.planted import FORMS, found_in, plant

HEX = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "secret",
    [
        "+14155550123",
        "+1 (415) 555-0123",
        "+44 20 7946 0958",
        "(415) 555-0123",
        "415-555-0123",
        "415.555.0123",
        "4155550123",
        "14155550123",
        "AC" + HEX,
        "SM" + HEX,
        HEX,
        "-".join(["xoxb", "1" * 11, "a" * 24]),
        "-".join(["xapp", "1", "A" * 11]),
        "sk-" + "proj-" + "a1" * 20,
        "eyJ" + "hbGciOi" * 3 + "." + "eyJzdWIi" * 3 + "." + "c2ln" * 4,
        "https://hooks.slack" + ".com/services/T0/B0/" + "x" * 24,
        "somebody@example.com",
    ],
)
def test_a_secret_is_taken_out_wherever_it_stands(secret: str) -> None:
    for text in (secret, f"failed for {secret}: no route", f'{{"to": "{secret}"}}', f"({secret})", f"to={secret},"):
        assert secret not in scrub(text)
        assert "[" in scrub(text)


def test_the_password_of_a_url_goes_and_its_host_stays() -> None:
    url = "postgresql://" + "writer:pass%40word" + "@db.example.com:5432/app"
    assert scrub(f"cannot reach {url}") == "cannot reach postgresql://[secret]@db.example.com:5432/app"
    assert scrub("https://" + "a1b2c3" + "@sentry.example.com/1") == "https://[secret]@sentry.example.com/1"


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-08 01:59:59.999999+00:00",
        "23 of 61 texts failed since 09:50 (usual: 1–4 % on 8 Mondays)",
        "error 30007, 1,204 messages, 12.345678 USD, INC-214",
        "9e107d9d-372b-4682-8bd8-1d3542a419d6",
        "127.0.0.1:5432/postgres",
        "http://127.0.0.1:3000/assets/daily_stats?partition=2026-03-08",
    ],
)
def test_what_tells_nothing_of_a_person_stays_readable(text: str) -> None:
    assert scrub(text) == text


@given(st.text(), st.from_regex(r"\+[1-9][0-9]{9,13}", fullmatch=True), st.text())
def test_no_e164_number_survives_in_any_text(before: str, number: str, after: str) -> None:
    assert number not in scrub(before + number + after)


@given(st.text())
def test_scrubbing_twice_changes_nothing_more(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)


def test_of_a_masked_number_two_digits_are_left() -> None:
    assert mask_phone("+14155550123") == "•••23"
    assert mask_phone(None) == mask_phone("12") == "•••"


PLANTED = plant(20_000 if SOAK else 1000)
SURROUNDINGS = (
    "{}",
    "failed for {}: no route",
    "({})",
    "to={},",
    "a\t{}\nb",
    "a\\n{}\\nb",
    "ERROR: {} at 2026-03-08 01:59:59+00",
    "[{}]",
    "<{}>",
)


def test_of_a_thousand_secrets_in_fourteen_forms_none_is_left_in_any_surroundings() -> None:
    assert {each.form for each in PLANTED} == set(FORMS)
    assert len(FORMS) == 14
    texts = "\n\n".join(scrub(s.format(each.shown)) for each in PLANTED for s in SURROUNDINGS)
    assert found_in(texts, PLANTED) == []


def test_none_is_left_in_json_in_a_repr_in_a_url_and_as_a_key() -> None:
    for each in PLANTED:
        assert each.secret not in scrub(repr(ValueError(each.shown))), each.form
        tree = {"a": [each.shown, {each.shown: (each.shown,)}], "b": each.shown.encode()}
        assert each.secret not in json.dumps(scrub_tree(tree)), each.form
        if each.form in ("e164", "email"):
            assert quote(each.secret) not in scrub(f"https://api.example.com/Messages?To={quote(each.secret, safe='')}")


def test_secrets_side_by_side_do_not_hide_each_other() -> None:
    chance = random.Random(3)
    for _ in range(500):
        pair = [chance.choice([p for p in PLANTED if p.form in ("e164", "twilio_sid", "openai_key")]) for _ in range(2)]
        assert found_in(scrub(" ".join(each.shown for each in pair)), pair) == []


def test_a_value_that_is_known_to_be_secret_goes_whatever_its_form() -> None:
    assert scrub("routed with R0UTINGKEYABC and abc", ["R0UTINGKEYABC", "abc"]) == "routed with [secret] and abc"


@pytest.fixture
def _own_records() -> Iterator[None]:
    factory = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(factory)


@pytest.mark.usefixtures("_own_records")
def test_no_log_record_of_the_process_shows_one(caplog: pytest.LogCaptureFixture) -> None:
    scrub_logs(["a known word"])
    scrub_logs(["a known word"])
    log = logging.getLogger("some.library")
    for each in PLANTED:
        log.warning("told %s and %s", each.shown, "a known word")
        try:
            raise RuntimeError(each.shown)
        except RuntimeError:
            log.exception("failed", stack_info=each is PLANTED[0])
    assert len(caplog.records) == 2 * len(PLANTED)
    assert found_in(caplog.text, PLANTED) == []
    assert "RuntimeError" in caplog.text
    assert "a known word" not in caplog.text


@pytest.mark.usefixtures("_own_records")
def test_a_record_with_wrong_arguments_is_not_lost(caplog: pytest.LogCaptureFixture) -> None:
    scrub_logs()
    logging.getLogger("x").warning("two %s %s", "+14155550123")
    assert caplog.messages == ["two %s %s"]


def _ordinary(chance: random.Random) -> str:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(10**8))
    return chance.choice(
        [
            str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            at.isoformat(),
            f"{at:%Y-%m-%d %H:%M:%S.%f}+00",
            f"{at:%Y%m%dT%H%M%SZ}",
            f"{at.timestamp():.3f}",
            str(int(at.timestamp())),
            str(int(at.timestamp() * 1000)),
            str(chance.randrange(10**9)),
            f"{chance.randrange(10**12):,}",
            f"{chance.uniform(0, 10**6):.6f} USD",
            f"rolled up {at:%Y-%m-%d} to {at:%Y-%m-%d}: {chance.randrange(10**6)} rows in 4.2 s",
            f"127.0.0.1:{chance.randrange(1024, 65536)}/postgres",
            f"{chance.getrandbits(160):040x}",
            f"{chance.getrandbits(256):064x}",
            f"/assets/daily_stats?partition={at:%Y-%m-%d}",
            f"INC-{chance.randrange(1000)} error {chance.choice(['30007', '30003'])} {chance.randrange(60)} of 61",
            f"PostgreSQL {chance.randrange(9, 19)}.{chance.randrange(9)} on x86_64-pc-linux-gnu, 64-bit",
            f"step daily_stats failed after {chance.randrange(10**5)} ms, attempt {chance.randrange(4)}",
        ]
    )


def test_of_ordinary_texts_less_than_one_in_a_thousand_is_altered() -> None:
    chance = random.Random(11)
    samples = [_ordinary(chance) for _ in range(10_000)]
    altered = [text for text in samples if scrub(text) != text]
    assert len(altered) < 10, altered[:20]


def test_a_long_text_is_scrubbed_in_a_moment() -> None:
    begun = datetime.now(UTC)
    for text in ("a" * 200_000, "1" * 200_000, "+1" * 100_000, "a@" * 50_000, "body=" * 40_000, "DETAIL: " * 25_000):
        scrub(text)
    assert datetime.now(UTC) - begun < timedelta(seconds=20)
