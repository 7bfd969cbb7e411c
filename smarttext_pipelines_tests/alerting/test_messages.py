"""Messages: the page of samples is compared elsewhere; here what holds for all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smarttext_pipelines.alerting.notify.markup import PLAIN
from smarttext_pipelines.alerting.notify.message import SEGMENT, Message, full_text, sms_text
from smarttext_pipelines_tests.messages import TAG, samples

SAMPLES = samples()


@pytest.mark.parametrize("what", SAMPLES)
def test_a_text_message_is_one_segment(what: str) -> None:
    text = sms_text(SAMPLES[what], TAG)
    assert len(text) <= SEGMENT
    assert text.isascii()
    assert text.endswith(f"INC-214 #{TAG}")


@given(st.text(max_size=300), st.text(max_size=300))
def test_whatever_a_business_is_called_the_mark_stays(subject: str, headline: str) -> None:
    text = sms_text(Message("firing", 214, "rule", "critical", subject, headline), TAG)
    assert text.endswith(f"#{TAG}")
    assert len(text) <= SEGMENT


@pytest.mark.parametrize("what", SAMPLES)
def test_a_message_says_incident_rule_severity_runbook_and_command(what: str) -> None:
    last = full_text(SAMPLES[what], PLAIN).splitlines()[-1]
    for words in (
        "INC-214",
        SAMPLES[what].rule,
        SAMPLES[what].severity,
        "`smarttext alerts runbook 214`",
        "`smarttext alerts show 214`",
    ):
        assert words in last
    assert "smarttext alerts" in last


def test_what_is_kept_in_the_outbox_reads_the_same() -> None:
    for message in SAMPLES.values():
        assert full_text(Message.from_json(message.as_json()), PLAIN) == full_text(message, PLAIN)
    assert Message.from_json(SAMPLES["A budget"].as_json() | {"new": 1}) is not None


def test_a_repeated_attempt_says_that_it_may_repeat() -> None:
    assert "attempt 2: may repeat" in full_text(SAMPLES["A budget"], PLAIN, attempt=2)
