"""A manifest or an archive that somebody changed: nothing outside is touched, only what was verified is read."""

import os
import shutil
import socket
from collections.abc import Callable
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smarttext_pipelines.archive import rows as module
from smarttext_pipelines.archive.session import locked_day
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import ArchiveError, SmartTextError
from smarttext_pipelines.retention.erase import erase
from smarttext_pipelines.retention.manifest_check import raise_damage, scrub
from smarttext_pipelines.retention.protocol import archive_rows, finish_interrupted
from smarttext_pipelines.retention.restore import restore
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import replace_events, roll_up_all

DAY = date(2026, 3, 15)
NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)
AROUND = DayRange(DAY, DAY).widen(6)
FOLDER = f"sms_events/day={DAY}"
PHONE = "+15550001111"

Act = Callable[[Database, ArchiveTarget], object]


def retain(database: Database, archive: ArchiveTarget, *, deletes: bool = True) -> list[Any]:
    with locked_day(database.engine, "sms_events", DAY) as connection:
        waiting = finish_interrupted(connection, archive, "sms_events", DAY)
        rows = archive_rows(connection, archive, "sms_events", DAY, waiting=waiting, deletes=deletes, max_rows=10**6)
        return list(rows)


READERS: dict[str, Act] = {
    "rollup": lambda database, archive: roll_up_all(database.engine, AROUND, archive=archive),
    "restore": lambda database, archive: restore(database.engine, archive, "sms_events", AROUND),
    "check": lambda database, archive: raise_damage(scrub(database.engine, archive)),
    "erasure": lambda database, archive: erase(database.engine, archive, PHONE, zone=ZoneInfo("UTC")),
}
"""Everybody who reads a file that speaks for rows."""


@pytest.fixture(autouse=True)
def _no_file_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_checked", set())


@pytest.fixture
def archive(tmp_path: Path) -> ArchiveTarget:
    return ArchiveTarget(str(tmp_path / "archive"))


@pytest.fixture
def loaded(database: Database) -> Database:
    rows = [strategies.sms_event(n, NOON, message_sid=f"SM{n}", status="sent") for n in range(8)]
    replace_events(database.engine, {"sms_events": rows})
    return database


@pytest.fixture
def archived(loaded: Database, archive: ArchiveTarget) -> Database:
    retain(loaded, archive)
    return loaded


def live(database: Database) -> int:
    return int(database.rows("SELECT count(*) FROM public.sms_events")[0]["count"])


def file_of(database: Database, archive: ArchiveTarget) -> Path:
    (row,) = database.rows("SELECT object_key FROM monitoring.archive_segments WHERE state <> 'superseded'")
    return Path(archive._root) / row["object_key"]


def outside(tmp_path: Path, content: bytes = b"not of the archive") -> Path:
    path = tmp_path / "elsewhere.parquet"
    path.write_bytes(content)
    return path


def keys_that_lead_outside(tmp_path: Path) -> list[str]:
    return [
        "../elsewhere.parquet",
        f"{FOLDER}/../../../elsewhere.parquet",
        f"{tmp_path}/elsewhere.parquet",
        f"file://{tmp_path}/elsewhere.parquet",
        "s3://another-bucket/elsewhere.parquet",
        f"{FOLDER}/./../../../elsewhere.parquet",
        "",
        "..",
        f"{FOLDER}/\\..\\elsewhere.parquet",
    ]


@pytest.mark.parametrize("reader", READERS)
def test_a_key_that_leads_outside_is_refused_before_anything_is_opened(
    archived: Database, archive: ArchiveTarget, tmp_path: Path, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The very bytes of the segment lie there, so only the name can be what is refused.
    outside(tmp_path, file_of(archived, archive).read_bytes())
    monkeypatch.setattr(ArchiveTarget, "opened", lambda *_: pytest.fail("a file was opened"))
    for key in keys_that_lead_outside(tmp_path):
        archived.run("UPDATE monitoring.archive_segments SET object_key = %s", key)
        with pytest.raises(ArchiveError, match=r"not its own|leads out"):
            READERS[reader](archived, archive)


@pytest.mark.parametrize("reader", READERS)
def test_a_file_of_the_archive_that_the_segment_did_not_make_is_not_read(
    archived: Database, archive: ArchiveTarget, reader: str
) -> None:
    file = file_of(archived, archive)
    for name in ("copy.parquet", f"{uuid4()}.parquet", "seq=1-0123456789abcdef.parquet"):
        shutil.copy(file, file.with_name(name))
        archived.run("UPDATE monitoring.archive_segments SET object_key = %s", f"{FOLDER}/{name}")
        with pytest.raises(ArchiveError, match="not its own"):
            READERS[reader](archived, archive)


@pytest.mark.parametrize("key", ["../x", "/etc/hostname", "a/../../x", "s3://b/x", "", ".", "a//b", "a\0b"])
def test_the_target_itself_refuses_what_leads_outside(tmp_path: Path, key: str) -> None:
    (tmp_path / "x").write_text("not of the archive")
    archive = ArchiveTarget(str(tmp_path / "archive"))
    into = tmp_path / "copies"
    into.mkdir()
    acts: list[Callable[[], object]] = [
        lambda: archive.require(key, "0"),
        lambda: archive.fetch(key, "0", into),
        lambda: archive.remove(key),
        lambda: archive.publish(tmp_path / "x", key, "0"),
        lambda: archive.temporary(key, "name"),
    ]
    for act in acts:
        with pytest.raises(ArchiveError, match="leads out of the archive"):
            act()
    assert (tmp_path / "x").exists()


def plan_with(database: Database, key: str, state: str = "planned", seq: int = 1) -> None:
    database.run(
        "INSERT INTO monitoring.archive_segments (id, table_name, day, seq, state, object_key)"
        " VALUES (%s, 'sms_events', %s, %s, %s, %s)",
        uuid4(), DAY, seq, state, key,
    )  # fmt: skip


@pytest.mark.parametrize("state", ["planned", "superseded"])
def test_a_plan_removes_no_file_that_it_did_not_make(
    loaded: Database, archive: ArchiveTarget, tmp_path: Path, state: str
) -> None:
    strange = [outside(tmp_path)]
    for name in (f"{uuid4()}.parquet", "seq=1-0123456789abcdef.parquet"):
        path = tmp_path / "archive" / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("of another database")
        strange.append(path)
    keys = [*keys_that_lead_outside(tmp_path)[:4], *(str(p.relative_to(tmp_path / "archive")) for p in strange[1:])]
    for key in keys:
        plan_with(loaded, key, state)
        with pytest.raises(ArchiveError, match="not its own; it was left alone"):
            retain(loaded, archive)
        assert all(path.exists() for path in strange)
        assert live(loaded) == 8
        loaded.run("UPDATE monitoring.archive_segments SET seq = seq + 1000")
    assert retain(loaded, archive)[0].deleted_rows == 8, "the next run goes on"
    assert all(path.exists() for path in strange)


def test_a_plan_that_names_the_file_of_another_segment_does_not_remove_it(
    archived: Database, archive: ArchiveTarget
) -> None:
    file = file_of(archived, archive)
    plan_with(archived, str(file.relative_to(archive._root)), seq=2)
    with pytest.raises(ArchiveError, match="not its own"):
        retain(archived, archive)
    assert file.exists()
    restore(archived.engine, archive, "sms_events", AROUND)
    assert live(archived) == 8


def _rename_as_before(database: Database, archive: ArchiveTarget, seq: int = 1) -> Path:
    """Give a segment's file the name that earlier versions gave."""
    file = file_of(database, archive)
    (row,) = database.rows("SELECT file_sha256 FROM monitoring.archive_segments WHERE state <> 'superseded'")
    name = f"seq={seq}-{row['file_sha256'][:16]}.parquet"
    file.rename(file.with_name(name))
    database.run("UPDATE monitoring.archive_segments SET object_key = %s", f"{FOLDER}/{name}")
    return file.with_name(name)


def test_files_with_the_names_of_earlier_versions_are_read_and_removed(
    archived: Database, archive: ArchiveTarget
) -> None:
    file = _rename_as_before(archived, archive)
    roll_up_all(archived.engine, AROUND, archive=archive)
    raise_damage(scrub(archived.engine, archive))
    restore(archived.engine, archive, "sms_events", AROUND)
    archived.run("UPDATE public.sms_events SET to_number = %s", PHONE)
    archived.run("UPDATE monitoring.archive_segments SET state = 'superseded', hold_until = NULL")
    retain(archived, archive)
    assert not file.exists()


def test_a_file_that_two_segments_name_is_not_removed_for_one_of_them(
    archived: Database, archive: ArchiveTarget
) -> None:
    file = _rename_as_before(archived, archive)
    archived.run(
        "INSERT INTO monitoring.archive_segments (id, table_name, day, seq, state, object_key, file_sha256)"
        " SELECT gen_random_uuid(), table_name, day, 9, 'superseded', object_key, file_sha256"
        " FROM monitoring.archive_segments"
    )
    with pytest.raises(ArchiveError, match="not its own"):
        retain(archived, archive)
    assert file.exists()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_link_is_refused_by_every_reader(
    archived: Database, archive: ArchiveTarget, tmp_path: Path, reader: str, place: str
) -> None:
    file = file_of(archived, archive)
    moved = file if place == "file" else file.parent
    shutil.move(moved, tmp_path / "moved")
    moved.symlink_to(tmp_path / "moved")
    with pytest.raises(ArchiveError, match="is a link, or lies behind one"):
        READERS[reader](archived, archive)


def test_nothing_is_removed_or_written_through_a_link(loaded: Database, archive: ArchiveTarget, tmp_path: Path) -> None:
    retain(loaded, archive, deletes=False)
    file = file_of(loaded, archive)
    loaded.run("UPDATE monitoring.archive_segments SET state = 'superseded'")
    shutil.move(file.parent, tmp_path / "moved")
    file.parent.symlink_to(tmp_path / "moved")
    with pytest.raises(ArchiveError, match="is a link, or lies behind one"):
        retain(loaded, archive)
    assert [p.name for p in (tmp_path / "moved").iterdir()] == [file.name]
    assert live(loaded) == 8


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # Names of sockets are short.
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("devices can be made by root alone")


KINDS: dict[str, Callable[[Path], None]] = {"fifo": _fifo, "socket": _socket, "folder": Path.mkdir, "device": _device}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_refused_without_waiting(
    archived: Database, archive: ArchiveTarget, reader: str, kind: str
) -> None:
    file = file_of(archived, archive)
    file.unlink()
    KINDS[kind](file)
    found: list[BaseException] = []

    def read() -> None:
        try:
            READERS[reader](archived, archive)
        except SmartTextError as error:
            found.append(error)

    thread = Thread(target=read, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "it is waited for"
    assert "is no regular file" in str(found[0])


def _put(rows: pa.Table, name: str, values: Any, kind: pa.DataType | None = None) -> pa.Table:
    field = rows.schema.field(name)
    return rows.set_column(rows.schema.get_field_index(name), field.with_type(kind or field.type), values)


def _told(rows: pa.Table, text: bytes) -> pa.Table:
    return rows.replace_schema_metadata({b"smarttext": text})


SPOILT: dict[str, Callable[[pa.Table], pa.Table]] = {
    "another status": lambda rows: _put(rows, "status", pa.array(["failed"] * len(rows))),
    "a row less": lambda rows: rows.slice(1),
    "another row": lambda rows: pa.concat_tables([rows, _put(rows.slice(0, 1), "id", pa.array([str(uuid4())]))]),
    "a row twice": lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]),
    "another id": lambda rows: _put(rows, "id", pa.array([str(uuid4()), *rows["id"].to_pylist()[1:]])),
    "another table": lambda rows: _told(
        rows, rows.schema.metadata[b"smarttext"].replace(b"sms_events", b"call_events")
    ),
    "a column more": lambda rows: rows.append_column("later", pa.array(["x"] * len(rows))),
    "another type": lambda rows: _put(rows, "body_length", rows["body_length"].cast(pa.int64()), pa.int64()),
    "no metadata": lambda rows: rows.replace_schema_metadata({}),
    "metadata of another form": lambda rows: _told(rows, b'["sms_events", [[1]]]'),
}
"""What can be done to the rows of a file."""


def rewrite(database: Database, archive: ArchiveTarget, spoil: str) -> None:
    """Change a file, and the hash of its bytes in the manifest."""
    file = file_of(database, archive)
    pq.write_table(SPOILT[spoil](pq.read_table(file)), file)
    database.run("UPDATE monitoring.archive_segments SET file_sha256 = %s", sha256(file.read_bytes()).hexdigest())


@pytest.mark.parametrize("spoil", SPOILT)
@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_was_rewritten_with_its_hash_is_not_read(
    archived: Database, archive: ArchiveTarget, reader: str, spoil: str
) -> None:
    rewrite(archived, archive, spoil)
    with pytest.raises(ArchiveError, match="is damaged"):
        READERS[reader](archived, archive)
    assert live(archived) == 0
    assert archived.rows("SELECT count(*) FROM monitoring.rollup_days WHERE rows > 0") == [{"count": 0}]


@pytest.mark.parametrize("spoil", SPOILT)
def test_no_row_is_deleted_for_a_file_that_was_rewritten_with_its_hash(
    loaded: Database, archive: ArchiveTarget, spoil: str
) -> None:
    retain(loaded, archive, deletes=False)
    rewrite(loaded, archive, spoil)
    with pytest.raises(ArchiveError, match="is damaged"):
        retain(loaded, archive)
    assert live(loaded) == 8
    assert retain(loaded, archive)[0].deleted_rows == 8
    restore(loaded.engine, archive, "sms_events", AROUND)
    assert live(loaded) == 8
