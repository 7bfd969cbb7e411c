"""The sample's planted incidents are found, and hardly anything else."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from smarttext_pipelines.anomalies.anomaly_store import search_days
from smarttext_pipelines.anomalies.episodes import episodes_between
from smarttext_pipelines.anomalies.in_words import Episode
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.sample.load import load_sample
from smarttext_pipelines.sample.planted_incidents import incident_day
from smarttext_pipelines.sample.spec import SampleSpec
from smarttext_pipelines_tests.anomalies.test_search import UTC as ZONE
from smarttext_pipelines_tests.conftest import Server, fresh_database
from smarttext_pipelines_tests.events import roll_up_all

END = date(2026, 3, 13)
SPEC = SampleSpec(110, 12, 1500, 7, END, datetime(2026, 3, 14, tzinfo=UTC))
QUIET = DayRange(END - timedelta(days=45), END - timedelta(days=16))


@pytest.fixture(scope="module")
def found(server: Server, template: str) -> Iterator[list[Episode]]:
    """Give what was unusual in the last 46 days of the sample."""
    with fresh_database(server, template) as database:
        load_sample(database.url, SPEC)
        roll_up_all(database.engine, DayRange(SPEC.first, END), as_of=datetime(2026, 3, 16, tzinfo=UTC))
        with database.engine.begin() as connection:
            search_days(connection, DayRange(QUIET.first, END), ZONE)
            yield episodes_between(connection, DayRange(QUIET.first, END))


@pytest.mark.parametrize(
    ("days_before", "metric", "side"),
    [(12, "texts_failed", 1), (9, "texts_sent", -1), (7, "texts_failed", 1), (5, "openai_tokens", 1)],
    ids=["filtering", "silence", "registration", "spend"],
)
def test_a_planted_incident_is_found_in_its_series(
    found: list[Episode], days_before: int, metric: str, side: int
) -> None:
    day = incident_day(END, days_before)
    near = DayRange(day, day + timedelta(days=1))
    same = [each for each in found if (each.metric, each.side) == (metric, side)]
    assert any(each.first_day in near for each in same), [(each.metric, each.side, each.first_day) for each in found]


def test_thirty_quiet_days_tell_at_most_two(found: list[Episode]) -> None:
    quiet = [e for e in found if e.first_day in QUIET]
    assert len(quiet) <= 2, quiet
