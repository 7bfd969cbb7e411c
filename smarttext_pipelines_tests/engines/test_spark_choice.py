"""Spark reads only what the lake holds as the database and its archive do; else another engine answers, and says so."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.defs.headlines import sentence
from smarttext_pipelines.engines import lake_cover
from smarttext_pipelines.engines.lake_cover import cover_of, differing_days
from smarttext_pipelines.engines.spark_session import LakeFile, SparkPlace
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.retention.run import Retention, archive_days
from smarttext_pipelines.rollup import RolledUp, roll_up
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import cells, insert_events, replace_events, roll_up_all
from smarttext_pipelines_tests.lake_files import write_lake
from smarttext_pipelines_tests.sail import Sail

AS_OF = datetime(2026, 11, 20, 7, tzinfo=UTC)
DAY = date(2026, 3, 8)
NOON = datetime(2026, 3, 8, 12, tzinfo=UTC)
NAME = "owner_alert_delivery"


def alert(number: int, at: datetime) -> strategies.Row:
    return strategies.owner_alert(number, at, delivered=True, message_sid=f"SM{number}")


class World:
    """A day of owner alerts, its lake, and what PostgreSQL says of the day."""

    def __init__(self, database: Database, sail: Sail, folder: Path) -> None:
        self.database, self.sail = database, sail
        self.archive = ArchiveTarget(str(folder / "archive"))
        events = strategies.events(
            businesses=[strategies.business(1)],
            owner_alerts=[alert(n, NOON + timedelta(minutes=n)) for n in range(20)],
        )
        replace_events(database.engine, events)
        self.lake = write_lake(database, folder, DayRange(DAY, DAY))
        self.path = Path(self.lake.files["owner_alerts"][0].url)

    def add(self, number: int, at: datetime) -> None:
        with self.database.engine.begin() as connection:
            insert_events(connection, {"owner_alerts": [alert(number, at)]})

    def roll_up(self, *, min_rows: int = 0) -> RolledUp:
        spark = SparkPlace(self.sail.remote, min_rows=min_rows, lake_files=self.lake.find)
        options: dict[str, Any] = {"zone": ZoneInfo("UTC"), "settle_days": 4, "as_of": AS_OF, "archive": self.archive}
        return roll_up(self.database.engine, METRICS[NAME], DayRange(DAY, DAY), spark=spark, **options)

    @property
    def sent(self) -> int:
        return sum(row["sent_count"] for row in cells(self.database.engine, NAME))


@pytest.fixture
def world(database: Database, sail: Sail, tmp_path: Path) -> World:
    return World(database, sail, tmp_path)


def require(result: RolledUp, engine: str, note: str) -> None:
    assert (result.engine, len(result.notes)) == (engine, 1 if note else 0), result.notes
    assert note in "".join(result.notes)
    assert note in sentence(result)


def test_a_day_that_the_lake_holds_is_read_from_its_file(world: World) -> None:
    rows = pq.read_table(world.path)
    delivered = pa.array([n > 0 for n in range(20)])
    pq.write_table(rows.set_column(rows.column_names.index("delivered"), "delivered", delivered), world.path)
    require(world.roll_up(), "spark", "")
    assert world.sent == 19, "what only the file says"


def test_a_day_with_a_late_row_is_read_from_the_database(world: World) -> None:
    world.add(20, NOON + timedelta(seconds=1))
    require(world.roll_up(), "spark", "")
    assert world.sent == 21


def test_a_file_that_lost_a_row_is_not_believed(world: World) -> None:
    pq.write_table(pq.read_table(world.path).slice(1), world.path)
    said = f"the lake holds 19 rows of owner_alerts of {DAY}, its manifest says 20"
    require(world.roll_up(), "postgres", said)
    assert world.sent == 20


@pytest.mark.parametrize("damage", ["missing", "no Parquet"])
def test_a_file_that_cannot_be_read_is_told(world: World, damage: str) -> None:
    world.path.unlink() if damage == "missing" else world.path.write_bytes(b"PAR1 not")
    # Sail takes a file that is missing for an empty one.
    said = {
        "missing": f"the lake holds 0 rows of owner_alerts of {DAY}",
        "no Parquet": "files of the lake cannot be read",
    }
    require(world.roll_up(), "postgres", said[damage])
    assert world.sent == 20


def test_more_rows_than_can_be_sent_stay_where_they_are(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_cover, "MOST_SENT", 20)
    world.add(20, NOON)
    require(world.roll_up(), "postgres", "21 rows of owner_alerts are not in the lake yet; at most 20 are sent")
    assert world.sent == 21


def test_few_rows_are_not_worth_a_cluster(world: World) -> None:
    require(world.roll_up(min_rows=21), "postgres", "")
    require(world.roll_up(min_rows=20), "spark", "")


def archived(world: World) -> None:
    roll_up_all(world.database.engine, DayRange(DAY, DAY).widen(4))
    retention = Retention(ZoneInfo("UTC"), 4, 90, deletes=True)
    results = archive_days(world.database.engine, world.archive, retention, done=lambda _d: None, begun=lambda _n: None)
    assert not [result for result in results if result.waits]
    assert not world.database.rows("SELECT 1 FROM public.owner_alerts")


def test_archived_rows_are_read_from_the_lake(world: World) -> None:
    archived(world)
    require(world.roll_up(), "spark", "")
    assert world.sent == 20


def test_archived_rows_that_the_lake_lacks_are_read_from_the_archive(world: World) -> None:
    archived(world)
    world.lake.files.clear()
    require(world.roll_up(), "archive", f"the lake lacks archived rows of owner_alerts of {DAY}")
    assert world.sent == 20


FILE = LakeFile(DAY, "a.parquet", 5)
NEXT = DAY + timedelta(days=1)


@pytest.mark.parametrize(
    ("live", "archived", "sent", "rows", "obstacle"),
    [
        ({DAY: 5}, {}, 0, 5, None),
        ({DAY: 5, NEXT: 7}, {}, 7, 12, None),
        ({}, {DAY: 5}, 0, 5, None),
        ({}, {DAY: 5, NEXT: 0}, 0, 5, None),
        ({}, {DAY: 5, NEXT: 2}, 0, 7, f"the lake lacks archived rows of sms_events of {NEXT}"),
        ({NEXT: 100_000}, {}, 100_000, 100_005, None),
        (
            {NEXT: 100_001},
            {},
            100_001,
            100_006,
            "100,001 rows of sms_events are not in the lake yet; at most 100,000 are sent",
        ),
    ],
)
def test_days_without_a_file_are_sent_if_they_are_few_and_live(
    live: dict[date, int], archived: dict[date, int], sent: int, rows: int, obstacle: str | None
) -> None:
    cover = cover_of("sms_events", [FILE], live, archived)
    assert (cover.sent_rows, cover.rows, cover.obstacle) == (sent, rows, obstacle)


@pytest.mark.parametrize(
    ("found", "days"),
    [({DAY: 5}, []), ({DAY: 4}, [DAY]), ({}, [DAY]), ({DAY: 5, NEXT: 1}, [NEXT]), ({NEXT: 5}, [DAY, NEXT])],
)
def test_a_cluster_that_finds_other_rows_than_the_manifest_says_names_their_days(
    found: dict[date, int], days: list[date]
) -> None:
    assert differing_days([FILE], found) == days
