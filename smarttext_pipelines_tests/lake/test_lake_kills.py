"""Kill and stop `lake export` and `erase` wherever they stand: a reader finds each row once, or reads it elsewhere."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest

from smarttext_pipelines.archive.session import locked_day
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.lake.current_files import lake_files_of
from smarttext_pipelines.retention.protocol import archive_rows
from smarttext_pipelines_tests.conftest import SOAK, Database

DAYS = [date(2026, 1, 10) + timedelta(days=n) for n in range(3)]
ARCHIVED, BOTH, LIVE = DAYS
PERSON = "+15550001111"
PATIENCE = 0.4
Rows = list[tuple[UUID, str]]


@dataclass
class World:
    """A database, an archive and a lake, and a process that forks workers which can be killed."""

    database: Database
    folder: Path
    process: "subprocess.Popen[str]"

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    def run(self, action: str, point: int = 0, seconds: float = 60.0) -> int:
        return int(self._ask({"action": action, "point": point, "seconds": seconds}))

    def run_both(self, first: str, point: int, second: str) -> list[int] | None:
        return self._ask([{"action": first, "point": point}, {"action": second, "seconds": PATIENCE}])

    def _ask(self, orders: Any) -> Any:
        known = {
            "url": self.database.url, "archive": str(self.folder / "archive"), "lake": str(self.lake),
            "days": [day.isoformat() for day in DAYS], "phone": PERSON, "step": "", "occurrence": 1, "broken": False,
        }  # fmt: skip
        asked = [known | order for order in orders] if isinstance(orders, list) else known | orders
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def insert(self, day: date, *numbers: str) -> None:
        for number in numbers:
            at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=random.random() * 86_399)
            self.database.run(
                "INSERT INTO public.sms_events (from_number, to_number, status, created_at)"
                " VALUES ('a', %s, 'sent', %s)", number, at,
            )  # fmt: skip

    def archive_day(self, day: date) -> None:
        target = ArchiveTarget(str(self.folder / "archive"))
        with locked_day(self.database.engine, "sms_events", day) as connection:
            options: dict[str, Any] = {"waiting": None, "deletes": True, "max_rows": 10_000}
            assert list(archive_rows(connection, target, "sms_events", day, **options))

    def truth(self) -> dict[date, Rows]:
        """Every row of each day: live ones, and those of the archive's files."""
        live = self.database.rows("SELECT id, to_number, created_at FROM public.sms_events")
        segments = self.database.rows("SELECT object_key FROM monitoring.archive_segments WHERE state = 'deleted'")
        files = [self.folder / "archive" / s["object_key"] for s in segments]
        archived = [row for file in files for row in pq.read_table(file).to_pylist()]
        rows = {
            UUID(str(r["id"])): (r["created_at"].astimezone(UTC).date(), r["to_number"]) for r in [*archived, *live]
        }
        return {day: sorted((id_, number) for id_, (of, number) in rows.items() if of == day) for day in DAYS}

    def readable(self) -> dict[date, Rows]:
        """What a reader finds in the days that it may read from the lake."""
        with self.database.engine.begin() as connection:
            found = lake_files_of(connection, "sms_events", DAYS, place=str(self.lake))
            rows = {day: pq.read_table(url).to_pylist() for day, url in found}
        return {day: sorted((UUID(r["id"]), r["to_number"]) for r in of_day) for day, of_day in rows.items()}

    def orphans(self) -> set[str]:
        files = {str(path.relative_to(self.lake)) for path in self.lake.rglob("*") if path.is_file()}
        named = self.database.rows("SELECT unnest(ARRAY[key, replaced_key]) AS key FROM monitoring.lake_files")
        return files - {row["key"] for row in named}

    def mentions(self) -> list[str]:
        files = [path for path in self.lake.rglob("*") if path.is_file()]
        return [path.name for path in files if PERSON in str(pq.read_table(path).to_pylist())]

    def require_exact(self) -> None:
        """Days that may be read hold each row once; the others are read where the rows are."""
        truth, found = self.truth(), self.readable()
        assert found == {day: truth[day] for day in found}


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    process = subprocess.Popen(
        [sys.executable, "-m", "smarttext_pipelines_tests.archiver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin
    assert process.stdout
    with process.stdin, process.stdout:
        world = World(database, tmp_path, process)
        others = [f"+1555000222{n}" for n in range(6)]
        for day in DAYS:
            world.insert(day, *others, PERSON)
        for day in (ARCHIVED, BOTH):
            world.archive_day(day)
        world.insert(BOTH, *others[:2], PERSON)
        yield world
    process.wait()


def test_an_export_that_is_killed_anywhere_loses_and_doubles_nothing(world: World) -> None:
    chance = random.Random(7)
    kills: list[dict[str, Any]] = [{"point": point} for point in range(1, 60, 1 if SOAK else 5)]
    kills += [{"seconds": chance.uniform(0.02, 0.4)} for _ in range(100 if SOAK else 3)]
    killed = 0
    for number, kill in enumerate(kills):
        for day in DAYS:
            world.insert(day, f"+1666{number:07}")
        killed += world.run("export", **kill) == -signal.SIGKILL
        world.require_exact()
    assert killed > 0.7 * len(kills)
    assert world.run("export") == 0
    assert world.readable() == world.truth()
    assert world.orphans() == set()


def test_an_erasure_that_is_killed_anywhere_leaves_nobody_in_the_lake_when_it_ends(world: World) -> None:
    for point in range(1, 130, 1 if SOAK else 29):
        world.insert(LIVE, PERSON, f"+1666{point:07}")
        assert world.run("export") == 0
        world.run("erase", point)
        world.require_exact()
        assert world.run("erase") == 0
        assert world.mentions() == []
        assert world.run("export") == 0
        assert world.readable() == world.truth()
        assert world.orphans() == set()


@pytest.mark.parametrize(("first", "second"), [("export", "erase"), ("erase", "export"), ("export", "export")])
def test_two_at_once_end_with_each_row_once_and_nobody_who_was_erased(world: World, first: str, second: str) -> None:
    for point in range(1, 60) if SOAK else (4, 9, 16):
        world.insert(LIVE, PERSON, f"+1666{point:07}")
        codes = world.run_both(first, point, second)
        if codes is None:
            break
        assert codes == [0, 0]
        if "erase" in (first, second):
            assert world.mentions() == []
        world.require_exact()
        assert world.run("export") == 0
        assert world.readable() == world.truth()
