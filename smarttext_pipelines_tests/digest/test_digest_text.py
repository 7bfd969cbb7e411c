"""The digest, word for word, on a good morning and on a bad one."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from smarttext_pipelines.budgets.month import MonthSpend
from smarttext_pipelines.digest.facts import DayFacts, Facts, Unanswered
from smarttext_pipelines.digest.text import MOST_LINES, digest_lines

GOLDEN = Path(__file__).parent / "digests"
USUAL = [
    DayFacts(110, 109, 1, 0, 0, 600, 590, 595, 6, Decimal("4.10")),
    DayFacts(95, 95, 0, 0, 0, 580, 570, 575, 9, Decimal("3.90")),
]
WELL = Facts(
    date(2026, 3, 16),
    DayFacts(118, 118, 0, 0, 0, 640, 614, 632, 8, Decimal("4.12")),
    USUAL,
    openai_usd=Decimal("3.10"),
    sms_usd=Decimal("1.02"),
    month=MonthSpend(Decimal("61.30"), 0, 0, Decimal("118.77")),
)
BAD = replace(
    WELL,
    today=DayFacts(120, 98, 4, 11, 7, 640, 600, 632, 96, Decimal("9.75")),
    unanswered=[Unanswered(f"Business {n}", 6 - n, 9) for n in range(1, 6)],
    openai_usd=Decimal("9.75"),
    sms_usd=None,
    month=MonthSpend(Decimal("61.30"), 12, 3, None),
    refused={"limit_tokens": 31},
    incidents=[(n, "sms_failure_rate", "critical", "Hartley Plumbing") for n in range(214, 220)],
    silent=["Rossi Dental", "Oak Garage"],
    restated=[date(2026, 3, 2)],
    is_complete=False,
)
UNKNOWN = replace(WELL, today=replace(WELL.today, final=100))
SAMPLES = {
    "well": WELL,
    "bad": BAD,
    "unknown_delivery": UNKNOWN,
    "nothing": Facts(date(2026, 3, 16), DayFacts(), is_computed=False),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_digest_reads_as_it_is_kept(name: str) -> None:
    assert "\n".join(digest_lines(SAMPLES[name])) + "\n" == (GOLDEN / f"{name}.txt").read_text()


def test_a_good_morning_has_three_lines_and_a_bad_one_at_most_twenty() -> None:
    assert len(digest_lines(WELL)) == 3
    assert len(digest_lines(BAD)) <= MOST_LINES


def test_below_the_floor_no_rate_is_shown() -> None:
    told = "\n".join(digest_lines(UNKNOWN))
    assert "failure rate unknown" in told
    assert "% failed" not in told


def test_one_caller_without_a_text_is_not_well() -> None:
    lines = digest_lines(replace(WELL, today=replace(WELL.today, in_time=117, unreplied=1)))
    assert "all is well" not in lines[0]
