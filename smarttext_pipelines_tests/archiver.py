"""An archiver that can be killed at any named step, or at any time: a process that forks one for each line it reads.

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

import adbc_driver_postgresql.dbapi  # noqa: F401 - else every child imports it
from sqlalchemy import Connection

from smarttext_pipelines.retention import protocol
from smarttext_pipelines.retention.columns import read_shape
from smarttext_pipelines.retention.deletion import delete_archived
from smarttext_pipelines.retention.files import verify_file, write_day
from smarttext_pipelines.retention.session import locked_day
from smarttext_pipelines.storage.archive_target import ArchiveTarget
from smarttext_pipelines.storage.connect import open_engine
from smarttext_pipelines.storage.manifest import DELETED, change_segment, plan_segment

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
            options = {"waiting": waiting, "deletes": True, "most_rows": 10_000, "segment_rows": SEGMENT_ROWS}
            for _ in rows(connection, target, TABLE, day, told=told, **options):
                pass


def _delete_before_verify(
    connection: Connection, target: ArchiveTarget, table: str, day: date, *, told: Callable[[str], None], **_: Any
) -> list[None]:
    """What nobody must ever write: the rows go before their file was read back and named."""
    with connection.begin():
        shape = read_shape(connection, table)
        segment = plan_segment(connection, uuid4(), table, day)
    path = target.temporary(segment.folder, str(segment.id))
    written = write_day(target, path, connection.engine.url, shape, day, SEGMENT_ROWS, told)
    if written.rows:
        with connection.begin():
            delete_archived(connection, segment, path)
        told("written")
        found = verify_file(path, written)
        told("read back")
        segment = protocol.publish_file(connection, target, segment, path, written, told)
        with connection.begin():
            change_segment(connection, segment, state=DELETED, **protocol.file_values(shape, written, found))
    return []


def main() -> None:
    """Serve orders, one JSON object a line; answer each with how the child ended."""
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            try:
                archive(order)
                os._exit(0)
            except Exception as error:  # noqa: BLE001
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201
                os._exit(1)
        end = time.monotonic() + order["seconds"]
        done, status = os.waitpid(child, os.WNOHANG)
        while not done:
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                done, status = os.waitpid(child, 0)
            else:
                time.sleep(0.001)
                done, status = os.waitpid(child, os.WNOHANG)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
