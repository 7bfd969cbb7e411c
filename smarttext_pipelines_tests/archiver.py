"""Archivers, restorers and erasers that can be killed or stopped at any point: a process that forks some for each line.

Forking after the imports makes a kill cheap; the child itself opens every connection, file and thread.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import adbc_driver_postgresql.dbapi  # noqa: F401 - else every child imports it
from sqlalchemy import Connection, Engine, event

from smarttext_pipelines.archive.columns import read_shape
from smarttext_pipelines.archive.files import verify_file, write_day
from smarttext_pipelines.archive.manifest import DELETED, change_segment, plan_segment
from smarttext_pipelines.archive.session import locked_day
from smarttext_pipelines.archive.target import ArchiveTarget, HashedFile
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.database.connect import open_engine
from smarttext_pipelines.lake.cutting_out import cut_out
from smarttext_pipelines.lake.export import export_days, raise_failures
from smarttext_pipelines.lake.lake_day import Places
from smarttext_pipelines.lake.lake_target import LakeTarget
from smarttext_pipelines.retention import protocol
from smarttext_pipelines.retention.deletion import delete_archived
from smarttext_pipelines.retention.erase import erase
from smarttext_pipelines.retention.restore import restore

TABLE = "sms_events"
STEPS = ("planned", "batch", "written", "read back", "named", "published", "verified", "hashed again", "deleting",
         "deleted")  # fmt: skip
SEGMENT_ROWS = 25


def kill_at(step: str, occurrence: int) -> Callable[[str], None]:
    """Return a hearer that kills its process when it hears a step for the n-th time."""
    heard = 0

    def told(name: str) -> None:
        nonlocal heard
        heard += name == step
        if heard == occurrence and name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return told


def archive(order: dict[str, Any]) -> None:
    """Do what the product does to each day, with a hearer that may kill us."""
    target, told = ArchiveTarget(order["archive"]), kill_at(order["step"], order["occurrence"])
    rows = _delete_before_verify if order["broken"] else protocol.archive_rows
    for text in order["days"]:
        day = date.fromisoformat(text)
        with locked_day(open_engine(order["url"]), TABLE, day) as connection:
            waiting = protocol.finish_interrupted(connection, target, TABLE, day)
            options = {"waiting": waiting, "deletes": True, "max_rows": 10_000, "segment_rows": SEGMENT_ROWS}
            for _ in rows(connection, target, TABLE, day, on_step=told, **options):
                pass


def _delete_before_verify(
    connection: Connection, target: ArchiveTarget, table: str, day: date, *, on_step: Callable[[str], None], **_: Any
) -> list[None]:
    """What nobody must ever write: the rows go before their file was read back and named."""
    with connection.begin():
        shape = read_shape(connection, table)
        segment = plan_segment(connection, uuid4(), table, day)
    path = target.temporary(segment.folder, str(segment.id))
    written = write_day(target, path, connection.engine.url, shape, day, SEGMENT_ROWS, on_step)
    if written.rows:
        with connection.begin():
            delete_archived(connection, segment, path)
        on_step("written")
        found = verify_file(path, written)
        on_step("read back")
        segment = protocol.publish_file(connection, target, segment, path, written, on_step)
        with connection.begin():
            change_segment(connection, segment, state=DELETED, **protocol.file_values(shape, written, found))
    return []


def restore_days(order: dict[str, Any]) -> None:
    days = sorted(map(date.fromisoformat, order["days"]))
    restore(open_engine(order["url"]), ArchiveTarget(order["archive"]), TABLE, DayRange(days[0], days[-1]))


def erase_person(order: dict[str, Any]) -> None:
    engine = open_engine(order["url"])

    def elsewhere(digits: str) -> None:
        if "lake" in order:
            cut_out(engine, LakeTarget(order["lake"]), digits)

    erase(engine, ArchiveTarget(order["archive"]), order["phone"], zone=ZoneInfo("UTC"), elsewhere=elsewhere)


def export_lake(order: dict[str, Any]) -> None:
    days = sorted(map(date.fromisoformat, order["days"]))
    places = Places(LakeTarget(order["lake"]), ArchiveTarget(order["archive"]))
    raise_failures(export_days(open_engine(order["url"]), places, DayRange(days[0], days[-1]), tables=(TABLE,)))


ACTIONS = {"archive": archive, "restore": restore_days, "erase": erase_person, "export": export_lake}


def signal_at(point: int, number: int) -> None:
    """Send this process a signal before the n-th transaction, commit or change of a file."""
    passed = 0

    def pass_one(*_: object) -> None:
        nonlocal passed
        passed += 1
        if passed == point:
            os.kill(os.getpid(), number)

    def announced(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            pass_one()
            return function(*arguments)

        return call

    event.listen(Engine, "begin", pass_one)
    event.listen(Engine, "commit", pass_one)
    for kind, names in (
        (ArchiveTarget, ("fetch", "created", "publish", "remove", "discard")),
        (HashedFile, ("flush",)),
    ):
        for name in names:
            setattr(kind, name, announced(getattr(kind, name)))


def start(order: dict[str, Any]) -> int:
    """Fork a child that obeys an order."""
    child = os.fork()
    if child:
        return child
    try:
        signal_at(order.get("point", 0), order.get("signal", signal.SIGKILL))
        ACTIONS[order.get("action", "archive")](order)
        os._exit(0)
    except Exception as error:  # noqa: BLE001
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(1)


def wait_for(child: int, seconds: float) -> int | None:
    """Return how a child ended; None when it did not in time."""
    end = time.monotonic() + seconds
    done, status = os.waitpid(child, os.WNOHANG)
    while not done and time.monotonic() < end:
        time.sleep(0.001)
        done, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def obey(order: dict[str, Any]) -> int:
    """Return how a child ended that obeyed an order, or was killed after some seconds."""
    child = start(order)
    code = wait_for(child, order["seconds"])
    if code is None:
        os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code


def obey_both(first: dict[str, Any], second: dict[str, Any]) -> list[int] | None:
    """Stop one child at its point until another has ended, or waits for it; None when it never came to the point."""
    stopped = start({**first, "signal": signal.SIGSTOP})
    state = os.waitid(os.P_PID, stopped, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    if state is None or state.si_code != os.CLD_STOPPED:
        os.waitpid(stopped, 0)
        return None
    other = start(second)
    code = wait_for(other, second["seconds"])
    os.kill(stopped, signal.SIGCONT)
    ends = [os.waitpid(stopped, 0)[1]] + ([os.waitpid(other, 0)[1]] if code is None else [])
    codes = [os.waitstatus_to_exitcode(end) for end in ends]
    return codes if code is None else [*codes, code]


def main() -> None:
    """Serve lines, each an order, or two to obey at once, as JSON; answer each with how the children ended."""
    for line in sys.stdin:
        orders = json.loads(line)
        print(json.dumps(obey_both(*orders) if isinstance(orders, list) else obey(orders)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
