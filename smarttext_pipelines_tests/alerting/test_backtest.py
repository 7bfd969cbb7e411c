"""The noise of the shipped rules on the sample, and that a backtest finds what went wrong there and changes nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.alerting.incidents.backtest import Backtest, backtest
from smarttext_pipelines.alerting.measuring.now import Place
from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.alerting.rules.rules_file import load_rules
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.sample import SampleSpec, load_sample
from smarttext_pipelines.sample.profiles import SHARED_SENDER
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import roll_up_all

END = datetime(2026, 6, 30, 20, tzinfo=UTC)
FILTERING = datetime(2026, 6, 18, 13, tzinfo=UTC)
"""The carrier filters two businesses from 15 to 23 UTC on that day."""

NOTICES = 9
"""Of the shipped rules over those twelve hours; twice as many is too much noise."""


@pytest.fixture(scope="module")
def sample(server: Server, template: str) -> Iterator[Database]:
    with fresh_database(server, template) as database:
        load_sample(database.url, SampleSpec(30, 40, 3000, 7, END.date(), END))
        days = DayRange(END.date() - timedelta(days=29), END.date())
        roll_up_all(database.engine, days, shared_senders=[SHARED_SENDER])
        yield database


def _replay(database: Database, rules: dict[str, Rule]) -> Backtest:
    place = Place(ZoneInfo("UTC"), 4, [SHARED_SENDER])
    end, step = FILTERING + timedelta(hours=12), timedelta(minutes=30)
    return backtest(database.engine, rules, place, start=FILTERING, end=end, step=step)


def test_the_shipped_rules_find_the_filtering_without_noise(sample: Database) -> None:
    done = _replay(sample, load_rules(None))
    assert done.notices["sms_filtered_rate", "firing"] >= 1
    assert done.total < 2 * NOTICES, done.notices
    assert all(recipients.keys() == {"log"} for recipients in done.recipients.values())
    assert sample.rows("SELECT 1 FROM monitoring.incidents UNION ALL SELECT 1 FROM monitoring.notifications") == []


def test_rules_that_fire_at_everything_are_seen(sample: Database) -> None:
    nervous = {
        name: rule.model_copy(update={"threshold": 0.1, "critical_threshold": None, "min_count": 1, "for_": 1})
        for name, rule in load_rules(None).items()
        if rule.metric != "unattributed_share"
    }
    assert _replay(sample, nervous).total >= 2 * NOTICES
