"""The rule over the last 20 texts: how often it is wrong, and how soon it is right.

A simulation over the pure judgement (``judge``): texts are drawn, and after each one the last twenty are judged as an
evaluation would. That the statement measures what the simulation takes for granted is tested against a database.
"""

import random
from collections import deque
from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.alerting.incidents.lifecycle import Finding, Severity, Verdict
from smarttext_pipelines.alerting.measuring.measure import measure
from smarttext_pipelines.alerting.measuring.now import Place
from smarttext_pipelines.alerting.measuring.recent_texts import LAST_COUNT
from smarttext_pipelines.alerting.rules import judge as judging
from smarttext_pipelines.alerting.rules.judge import BURST, GOOD_AFTER, Measured, judge
from smarttext_pipelines.alerting.rules.rules_file import load_rules
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.rates import WILSON_Z
from smarttext_pipelines_tests.alerts import NOON, World, business_id, only
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import roll_up_all

RULE = load_rules(None)["sms_failure_rate"]
USUAL = 0.03
"""True failure rate of a business where nothing is wrong."""

YEARS = 400
MOST_A_YEAR = 0.1
"""False alarms of a business in a year."""


class LastTexts:
    """What the last texts of a business say after each of them; every text is to another number."""

    def __init__(self) -> None:
        self.last: deque[bool] = deque(maxlen=LAST_COUNT)
        self.good_after, self.failed_in_a_row = LAST_COUNT, 0

    def add(self, *, failed: bool) -> tuple[Finding, ...]:
        """Return what is found after one more text: for the last twenty, and for those since the last success."""
        self.last.append(failed)
        self.good_after = 0 if failed else min(self.good_after + 1, LAST_COUNT)
        self.failed_in_a_row = self.failed_in_a_row + 1 if failed else 0
        found = [_judged(sum(self.last), len(self.last), self.good_after, is_burst=False)]
        if self.failed_in_a_row >= BURST:
            found.append(_judged(self.failed_in_a_row, self.failed_in_a_row, 0, is_burst=True))
        return tuple(found)


@cache
def _judged(part: int, whole: int, good_after: int, *, is_burst: bool) -> Finding:
    value, is_enough = 100.0 * part / whole, whole >= RULE.min_count
    limits = RULE.thresholds_for(None, None)
    return judge(
        RULE, Measured(part, whole, value, is_enough, limits, is_last=True, is_burst=is_burst, good_after=good_after)
    )


def _alarms(outcomes: Iterable[bool]) -> int:
    """Return how many incidents begin: one lasts until a finding says that it is over."""
    texts, alarms, is_open = LastTexts(), 0, False
    for failed in outcomes:
        verdicts = [found.verdict for found in texts.add(failed=failed)]
        if not is_open and Verdict.breach in verdicts:
            alarms, is_open = alarms + 1, True
        elif is_open and verdicts == [Verdict.ok]:
            is_open = False
    return alarms


def _drawn(texts: int, rate: float, seed: int) -> Iterable[bool]:
    chance = random.Random(seed)
    return (chance.random() < rate for _ in range(texts))


def _most(alarms: int) -> float:
    """Return the greatest expectation with which so few alarms are still seen once in a thousand times, roughly."""
    return alarms + 3 * (alarms + 1) ** 0.5 + 4


@pytest.mark.parametrize("texts_a_day", [3, 10, 20])
def test_a_business_where_nothing_is_wrong_is_told_of_less_than_once_in_ten_years(texts_a_day: int) -> None:
    alarms = _alarms(_drawn(YEARS * 365 * texts_a_day, USUAL, texts_a_day))
    assert _most(alarms) / YEARS <= MOST_A_YEAR, f"{alarms} false alarms in {YEARS} years"


def test_with_the_confidence_of_time_windows_it_would_be_told_of_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "LAST_Z", WILSON_Z)
    _judged.cache_clear()
    try:
        assert _alarms(_drawn(20 * 365 * 10, USUAL, 1)) / 20 > MOST_A_YEAR
    finally:
        _judged.cache_clear()


@pytest.mark.parametrize("before", [0, 1, 4, 19, 20, 300])
def test_when_every_text_fails_the_fifth_one_says_so(before: int) -> None:
    for seed in range(200):
        texts = LastTexts()
        for failed in (*_drawn(before, USUAL, seed), *([False] if before else [])):
            texts.add(failed=failed)
        found = [texts.add(failed=True) for _ in range(BURST)]
        assert [each for each in found[-1] if each.verdict is Verdict.breach and each.at_once], (before, seed)
        if before == 0:
            assert all(each.verdict is not Verdict.breach for some in found[:-1] for each in some)
    assert found[-1][-1].severity is Severity.critical


def test_when_four_of_ten_fail_it_is_told_within_forty_texts() -> None:
    late = 0
    for seed in range(300):
        texts = LastTexts()
        for failed in _drawn(60, USUAL, seed):
            texts.add(failed=failed)
        found = [each for failed in _drawn(40, 0.4, 1000 + seed) for each in texts.add(failed=failed)]
        late += all(each.verdict is not Verdict.breach for each in found)
    assert late <= 0.05 * 300


def test_what_a_database_measures_is_what_is_simulated(database: Database) -> None:
    world = World(database)
    world.businesses(12)
    expected = {}
    for business in range(1, 13):
        texts, outcomes = LastTexts(), list(_drawn(28, 0.35, business))
        for hours, failed in zip(range(35, 7, -1), outcomes, strict=True):
            texts.add(failed=failed)
            status = {"status": "undelivered", "error_code": "30003"} if failed else {}
            world.send(1, business=business, ago=timedelta(hours=hours), **status)
        expected[f"business:{business_id(business)}"] = texts
    roll_up_all(database.engine, DayRange(NOON.date() - timedelta(days=2), NOON.date()))
    with database.engine.connect() as connection:
        place = Place(ZoneInfo("UTC"), 4, ())
        found = measure(connection, only("sms_failure_rate"), place, now=world.now, open_keys=())
    seen = {scope: row.measured for (_, scope), row in found.rows.items() if row.kind == "business"}
    assert len(seen) >= 10, "those of whom enough failed are measured"
    for scope, measured in seen.items():
        texts = expected[scope]
        assert measured.is_last
        in_a_row = texts.failed_in_a_row
        assert (measured.part, measured.whole) == (
            (in_a_row,) * 2 if in_a_row >= BURST else (sum(texts.last), LAST_COUNT)
        )
        assert min(measured.good_after, GOOD_AFTER) == min(texts.good_after, GOOD_AFTER)
        assert measured.is_burst == (in_a_row >= BURST)
