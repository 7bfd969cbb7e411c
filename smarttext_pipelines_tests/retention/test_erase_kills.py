"""Kill and stop `restore` and `erase` wherever they stand: others lose no row, and nothing of the person is left."""

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest

from smarttext_pipelines.archive.session import locked_day
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.retention.erase import erase
from smarttext_pipelines.retention.protocol import archive_rows, finish_interrupted
from smarttext_pipelines.retention.restore import restore
from smarttext_pipelines_tests.conftest import SOAK, Database, Server, fresh_database
from smarttext_pipelines_tests.events import cells, roll_up_all

DAYS = [date(2026, 1, 10) + timedelta(days=n) for n in range(4)]
MIXED, BACK, ALONE, BEGUN = DAYS
PERSON = "+15550001111"
STATE = ("public.sms_events", "monitoring.archive_segments", "monitoring.erasures", "monitoring.rollup_days",
         "monitoring.rollup_requests")  # fmt: skip
PATIENCE = 0.4
MOST_POINTS = 100
Row = tuple[UUID, str, str]


class Interrupted(BaseException):
    pass


def interrupt_at(step: str) -> Any:
    def told(name: str) -> None:
        if name == step:
            raise Interrupted

    return told


@dataclass
class World:
    """A database and an archive that can be put back to how they were, and a process that forks workers."""

    database: Database
    archive: Path
    process: "subprocess.Popen[str]"

    @property
    def target(self) -> ArchiveTarget:
        return ArchiveTarget(str(self.archive))

    def run(self, action: str, point: int = 0, seconds: float = 60.0) -> int:
        return int(self._ask({"action": action, "point": point, "seconds": seconds}))

    def run_both(self, first: str, point: int, second: str) -> list[int] | None:
        orders = ({"action": first, "point": point}, {"action": second, "seconds": PATIENCE})
        return self._ask(list(orders))

    def _ask(self, orders: Any) -> Any:
        known = {"url": self.database.url, "archive": str(self.archive), "days": [day.isoformat() for day in DAYS]}
        known |= {"phone": PERSON, "step": "", "occurrence": 1, "broken": False}
        asked = [known | order for order in orders] if isinstance(orders, list) else known | orders
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def archive_day(self, day: date, step: str = "", *, segment_rows: int = 100) -> None:
        with locked_day(self.database.engine, "sms_events", day) as connection:
            waiting = finish_interrupted(connection, self.target, "sms_events", day)
            options: dict[str, Any] = {"waiting": waiting, "deletes": True, "max_rows": 10_000}
            told = interrupt_at(step)
            for _ in archive_rows(
                connection, self.target, "sms_events", day, on_step=told, segment_rows=segment_rows, **options
            ):
                pass

    def save(self) -> None:
        self.database.run("CREATE SCHEMA saved")
        for table in STATE:
            self.database.run(f"CREATE TABLE saved.{table.split('.')[1]} AS TABLE {table}")
        shutil.copytree(self.archive, self.archive.with_name("saved"))

    def put_back(self) -> None:
        filled = [f"INSERT INTO {t} OVERRIDING SYSTEM VALUE TABLE saved.{t.split('.')[1]}" for t in STATE]
        self.database.run(";".join([f"TRUNCATE {', '.join(STATE)}", *filled]))
        shutil.rmtree(self.archive)
        shutil.copytree(self.archive.with_name("saved"), self.archive)

    def live(self) -> list[Row]:
        with self.database.server.connect(self.database.name) as connection:
            return connection.execute("SELECT id, from_number, status FROM public.sms_events").fetchall()

    def readable(self) -> list[Row]:
        """Every row that a reader finds: a live row goes before a file, a later file before an earlier one."""
        found = {row[0]: row for row in self.live()}
        for segment in self.database.rows(
            "SELECT object_key, coalesce(changed_ids, '{}') AS changed FROM monitoring.archive_segments"
            " WHERE state = 'deleted' ORDER BY day, seq DESC"
        ):
            for row in pq.read_table(self.archive / segment["object_key"]).to_pylist():
                if UUID(row["id"]) not in segment["changed"]:
                    found.setdefault(UUID(row["id"]), (UUID(row["id"]), row["from_number"], row["status"]))
        return sorted(found.values())

    def counts(self) -> list[dict[str, Any]]:
        """What a rollup makes of the rows."""
        metrics = {"sms_outcomes": METRICS["sms_outcomes"]}
        roll_up_all(self.database.engine, DayRange(DAYS[0], DAYS[-1]), metrics=metrics, archive=self.target)
        return cells(self.database.engine, "sms_outcomes")

    def mentions(self) -> list[str]:
        """Where the person's number still stands: tables of events and of the archive, files of any name."""
        names = [t for t in STATE if PERSON in str(self.database.rows(f"SELECT t::text FROM {t} AS t"))]
        files = [path for path in self.archive.rglob("*") if path.is_file()]
        return names + [path.name for path in files if PERSON in _text(path)]

    def orphans(self) -> set[str]:
        files = {str(path.relative_to(self.archive)) for path in self.archive.rglob("*") if path.is_file()}
        named = self.database.rows("SELECT object_key FROM monitoring.archive_segments WHERE object_key IS NOT NULL")
        return files - {row["object_key"] for row in named}


def _text(path: Path) -> str:
    try:
        return str(pq.read_table(path).to_pylist())
    except Exception:  # noqa: BLE001 - part of a file
        return path.read_bytes().decode("latin-1")


def _insert(database: Database, day: date, status: str, *phones: str) -> None:
    for n, phone in enumerate(phones):
        at = datetime(day.year, day.month, day.day, 12, n % 60, tzinfo=UTC)
        # The last one mentions the number only in its payload.
        where = (phone, "{}") if n % 3 else ("x", json.dumps({"to": f"sms:{phone}"}))
        database.run(
            "INSERT INTO public.sms_events (from_number, to_number, status, created_at, payload)"
            " VALUES (%s, 'y', %s, %s, %s)", where[0], status, at, where[1],
        )  # fmt: skip


@pytest.fixture(scope="module")
def filled(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator["World"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "smarttext_pipelines_tests.archiver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin
    assert process.stdout
    with fresh_database(server, template) as database, process.stdin, process.stdout:
        world = World(database, tmp_path_factory.mktemp("erase") / "archive", process)
        fill(world)
        world.save()
        yield world
    process.wait()


@pytest.fixture
def world(filled: World) -> World:
    filled.put_back()
    return filled


def fill(world: World) -> None:
    """Make segments of every state, each with rows of the person and of others."""
    database, others = world.database, [f"+1555000222{n}" for n in range(6)]
    for day in (MIXED, BACK):
        _insert(database, day, "first", *others, PERSON, PERSON)
        known = world.live()
        world.archive_day(day, segment_rows=5)
        # The application writes an archived row once more.
        (id_,) = [id_ for id_, number, status in known if (number, status) == (others[4], "first")]
        database.run(
            "INSERT INTO public.sms_events (id, from_number, to_number, status, created_at)"
            " VALUES (%s, %s, 'y', 'again', %s::date + time '13:00')", id_, others[4], day,
        )  # fmt: skip
    _insert(database, ALONE, "first", PERSON, PERSON)
    world.archive_day(ALONE)
    _insert(database, MIXED, "second", *others[:2], PERSON)
    with pytest.raises(Interrupted):
        world.archive_day(MIXED, "verified")
    database.run(
        "UPDATE public.sms_events SET status = 'newer' WHERE from_number = %s AND status = 'second'", others[1]
    )
    world.archive_day(MIXED)
    _insert(database, MIXED, "third", *others[:2])
    with pytest.raises(Interrupted):
        world.archive_day(MIXED, "verified")
    restore(database.engine, world.target, "sms_events", DayRange(BACK, BACK))
    with pytest.raises(Interrupted):
        world.archive_day(BACK, "published")
    _insert(database, BEGUN, "live", others[0], PERSON)
    with pytest.raises(Interrupted):
        world.archive_day(BEGUN, "written")
    _insert(database, ALONE, "second", *others, PERSON)
    with pytest.raises(Interrupted):
        world.archive_day(ALONE, "verified")
    _insert(database, BACK, "live", *others, PERSON)


def require_erased(world: World, others: list[Row]) -> None:
    assert world.mentions() == []
    assert world.readable() == others
    assert world.orphans() == set()
    assert world.database.rows("SELECT count(*) FROM monitoring.erasures WHERE finished_at IS NOT NULL") != [
        {"count": 0}
    ]


def split(world: World) -> tuple[list[Row], set[UUID]]:
    """Return the rows of others, and the ids of those that mention the person, live or in a file."""
    live = world.database.rows("SELECT id FROM public.sms_events AS t WHERE t::text LIKE %s", f"%{PERSON}%")
    files = [row for path in world.archive.rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    gone = {row["id"] for row in live} | {UUID(row["id"]) for row in files if PERSON in str(row)}
    return [row for row in world.readable() if row[0] not in gone], gone


def test_an_erasure_that_is_killed_anywhere_is_finished_by_the_next(world: World) -> None:
    others, gone = split(world)
    assert len(gone) == 10
    chance = random.Random(7)
    kills: list[dict[str, Any]] = [{"point": point} for point in range(1, MOST_POINTS, 1 if SOAK else 17)]
    kills += [{"seconds": chance.uniform(0.05, 0.5)} for _ in range(50 if SOAK else 2)]
    killed = 0
    for kill in kills:
        killed += world.run("erase", **kill) == -signal.SIGKILL
        assert [row for row in world.readable() if row[0] not in gone] == others
        assert world.run("erase") == 0
        require_erased(world, others)
        world.put_back()
    assert killed > 0.8 * len(kills)


def test_no_temporary_file_is_forgotten_when_the_run_that_would_remove_it_dies(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    others, _ = split(world)
    original = ArchiveTarget.discard

    def die(target: ArchiveTarget, path: Path) -> None:
        if str(BEGUN) in str(path):
            raise Interrupted
        original(target, path)

    monkeypatch.setattr(ArchiveTarget, "discard", die)
    with pytest.raises(Interrupted):
        erase(world.database.engine, world.target, PERSON, zone=ZoneInfo("UTC"))
    monkeypatch.undo()
    assert world.run("erase") == 0
    require_erased(world, others)


def test_a_restore_that_is_killed_anywhere_is_finished_by_the_next(world: World) -> None:
    rows, counts = world.readable(), world.counts()
    for point in count(1, 1 if SOAK else 4):
        code = world.run("restore", point)
        assert world.readable() == rows
        if code == 0:
            break
        assert code == -signal.SIGKILL
        assert world.run("restore") == 0
        assert sorted(world.live()) == world.readable() == rows
        world.put_back()
    assert point > 12
    assert world.counts() == counts


PAIRS = [
    ("restore", "erase", [12]),
    ("restore", "archive", [10]),
    ("archive", "erase", [45]),
    ("archive", "restore", [20]),
    ("erase", "archive", [40]),
    ("erase", "restore", [5]),
    ("erase", "erase", [4, 60]),
]


def test_two_at_once_lose_nothing_and_an_erasure_that_ends_is_complete(world: World) -> None:
    """The first stops at a point, the second runs until it ends or waits, then the first goes on."""
    others, gone = split(world)
    for first, second, points in PAIRS:
        for point in range(1, MOST_POINTS) if SOAK else points:
            codes = world.run_both(first, point, second)
            if codes is None:
                break
            assert codes == [0, 0]
            if "erase" in (first, second):
                require_erased(world, others)
            assert [row for row in world.readable() if row[0] not in gone] == others
            world.put_back()
        assert codes or point > 12
