"""Telephone numbers are found however they are written; what is no number stays readable."""

import json
import time
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smarttext_pipelines.core.phones import mask_phone, masked_in_sql
from smarttext_pipelines.core.redact import scrub
from smarttext_pipelines_tests.conftest import Database

SPACES = " \u00a0\u2002\u2007\u2009\u200a\u202f\u205f\u3000"
DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212\uff0d\ufe63"
ZEROS = ("0", "\uff10", "\u0660", "\u06f0", "\u0966", "\U0001d7ce")
"""The zero of ASCII, full width, Arabic-Indic, Persian, Devanagari and bold mathematical digits."""

FORMS = (
    "({area}){exchange}{line}",
    "({area}){s}{exchange}{d}{line}",
    "({area}){exchange}{d}{line}",
    "{area}{d}{exchange}{d}{line}",
    "{area}{s}{exchange}{s}{line}",
    "{area}{s}{exchange}{line}",
    "{area}{d}{exchange}{line}",
    "{area}.{exchange}.{line}",
    "{area}{exchange}{line}",
    "{area}{s}{d}{s}{exchange}{s}{d}{s}{line}",
    "{area}/{exchange}{d}{line}",
    "1{s}{area}{s}{exchange}{line}",
    "1{d}{area}{d}{exchange}{d}{line}",
    "1{s}({area}){s}{exchange}{d}{line}",
    "1{area}{exchange}{line}",
    "1.{area}.{exchange}.{line}",
    "+1{area}{exchange}{line}",
    "+1{s}({area}){s}{exchange}{d}{line}",
    "+{s}1{s}{area}{s}{exchange}{s}{line}",
    "001{s}{area}{s}{exchange}{s}{line}",
    "011{s}44{s}20{s}{exchange}{line}",
    "00{area}{exchange}{line}",
    "0{area}{s}{exchange}{d}{line}",
    "(0{area}){s}{exchange}{line}",
    "0{area}/{exchange}{line}",
    "0{area}{exchange}{line}",
    "(02){s}{line}{s}{line}",
    "03{d}{line}{d}{line}",
    "06{s}12{s}34{s}56{s}78",
)
EXTENSIONS = ("", "x123", " x 123", " ext. 4567", " EXT 9", "#12", " extension 77")


@st.composite
def numbers(draw: st.DrawFn) -> str:
    exchange = draw(st.integers(200, 999))
    told = draw(st.sampled_from(FORMS)).format(
        area=draw(st.integers(200, 999)),
        exchange=exchange,
        line=f"{draw(st.integers(1000, 9999))}",
        s=draw(st.sampled_from(SPACES)),
        d=draw(st.sampled_from(DASHES)),
    )
    zero = ord(draw(st.sampled_from(ZEROS)))
    told += draw(st.sampled_from(EXTENSIONS))
    return "".join(chr(zero + int(c)) if c.isascii() and c.isdigit() else c for c in told)


SURROUNDINGS = ("{}", "failed for {}: no route", "to={},", '{{"to": "{}"}}', "<{}>", "[{}]", "a\t{}\nb", "call {}.")


def digits_left(text: str) -> int:
    return sum(c.isdigit() for c in text)


@given(numbers(), st.sampled_from(SURROUNDINGS))
def test_no_digit_is_left_of_a_number_in_any_form_separators_and_script(number: str, around: str) -> None:
    said = scrub(around.format(number))
    assert "[phone]" in said
    assert digits_left(said) == 0


@given(numbers())
def test_none_is_left_in_json_in_a_repr_and_in_a_url(number: str) -> None:
    assert digits_left(scrub(json.dumps({"to": number}))) == 0
    assert digits_left(scrub(json.dumps(json.dumps({"to": number})))) == 0
    assert digits_left(scrub(repr(ValueError(number)))) == 0
    if number.isascii():
        assert digits_left(scrub(f"https://api.example.com/Messages?To={quote(number, safe='')}")) == 0


@given(numbers() | st.text(), numbers() | st.text(), st.sampled_from((" ", ", ", "", "\n", "\\n", " \\u202f")))
@example("+1", "\\u0034155550123", "")
def test_scrubbing_twice_changes_nothing_more(one: str, other: str, between: str) -> None:
    once = scrub(one + between + other)
    assert scrub(once) == once


@given(st.text(st.sampled_from("0123456789+()-./ x#\\u\u202f\u0661\uff11ext%2B&;")))
def test_scrubbing_a_text_of_nothing_but_signs_of_numbers_ends_and_is_stable(text: str) -> None:
    once = scrub(text)
    assert scrub(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-08 01:59:59.999999+00:00",
        "2026-03-08T01:59:59Z",
        "08.03.2026 10:15:00",
        "08/03/2026 10:15",
        "08-03-2026 10:15",
        "03/08/26, 10:15 AM",
        "20260308T015959Z",
        "1773000000",
        "1773000000.123",
        "1773000000123",
        "415.5552671 s",
        "0.4155552671",
        "9e107d9d-372b-4682-8bd8-1d3542a419d6",
        "00000000-0000-4000-8000-000000000000",
        "req_0123456789ab",
        "12,345,678,901.50 USD",
        "415.55 USD of 5552.67 USD",
        "PostgreSQL 16.3.2, Python 3.11.7, 1.2.3.4.5",
        "192.168.100.200:5432",
        "10.0.0.1, 255.255.255.0, 203.0.113.77",
        "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
        "fe80::1ff:fe23:4567:890a",
        "error 30007, 21610 and 30034; 63038",
        "INC-2026-0012, segment 3 of sms_events",
        "23 of 61 texts, 100 000 rows in 4.2 s",
        "v2.10.0-rc.1+build.5",
        "0 1 2 3 4 5 6 7 8 9",
        "1 2 3, 10 20 30",
        "[1, 22, 333, 4444, 55555]",
        "page 3/12, 07/08",
        "sms_events/day=2026-03-15/seq=1.parquet",
        "pid 12345 on port 65535 took 1234567 us",
        "x" * 9 + "4155552671",
        "deadbeef4155552671",
        "m\u00b2, 5\u00d710\u00b3, \u00bd",
    ],
)
def test_what_is_no_number_stays_readable(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize(
    "part",
    ["1", "+1", "(", "415-", "0 ", "(415) 555-", "x1", "\\u0031", "\\", "%2B1", "\u0661", "\uff0b1 ", "&#43;", "01 23 ",
     "+1()./ ", "1 415 ", "200 ", " ext", "00"],
)  # fmt: skip
def test_time_grows_with_the_length_and_not_faster(part: str) -> None:
    def seconds(length: int) -> float:
        text = part * (length // len(part))
        begun = time.process_time()
        scrub(text)
        return time.process_time() - begun

    seconds(1000)
    short, long = min(seconds(20_000) for _ in range(2)), seconds(160_000)
    assert long < 8 * 4 * short + 0.2


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+14155550123", "•••23"),
        ("12345", "•••45"),
        ("911", "•••"),
        ("12", "•••"),
        ("", "•••"),
        ("anonymous", "•••"),
        ("Restricted", "•••"),
        ("+1", "•••"),
        ("(415) 555-01 23", "•••23"),
        ("415-555-2671x9", "•••19"),
        ("sip:somebody@example.com", "•••"),
    ],
)
def test_a_masked_number_shows_no_more_than_its_last_two_digits(database: Database, number: str, shown: str) -> None:
    assert mask_phone(number) == shown
    assert database.rows(f"SELECT {masked_in_sql('n')} AS shown FROM (SELECT %s::text AS n) AS x", number) == [
        {"shown": shown}
    ]


@given(numbers() | st.text())
def test_a_mask_has_two_digits_at_most(number: str) -> None:
    assert len(mask_phone(number)) in (3, 5)
    assert digits_left(mask_phone(number)) <= 2


def test_a_number_that_is_missing_is_masked_as_missing(database: Database) -> None:
    assert mask_phone(None) == "•••"
    assert database.rows(f"SELECT {masked_in_sql('NULL')} AS shown") == [{"shown": None}]


def test_the_views_that_explain_mask_what_is_no_number(database: Database) -> None:
    database.run(
        "INSERT INTO public.sms_events (from_number, to_number, status) VALUES ('anonymous', '911', 'sent');"
        "INSERT INTO public.call_events (from_number, to_number, event_type)"
        " VALUES ('Restricted', NULL, 'voice.missed')"
    )
    assert database.rows("SELECT sender, recipient FROM monitoring.message_rows") == [
        {"sender": "•••", "recipient": "•••"}
    ]
    assert database.rows("SELECT caller, called FROM monitoring.call_rows") == [{"caller": "•••", "called": None}]
