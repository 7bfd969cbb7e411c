"""What must never leave the process, and what must stay readable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smarttext_pipelines.core.scrub import mask_phone, scrub

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
        "23 of 61 texts failed since 09:50 (usual on a Monday: 1–4 %)",
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
