"""Find the number that a customer's key was made of in files of the archive."""

from collections.abc import Collection
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine

from smarttext_pipelines.archive.manifest import SUPERSEDED, UNDATED, find_segments
from smarttext_pipelines.archive.rows import open_archived
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.customer_keys import customer_key, e164
from smarttext_pipelines.database.connect import connected


def find_archived_number(
    database: Engine, archive: ArchiveTarget, key: str, secret: bytes, days: Collection[date]
) -> str | None:
    """Return the number in E.164, or None where no file of the customer's days has it.

    Args:
        database: Result of ``open_engine``.
        archive: Where the files are stored.
        key: As ``core.customer_keys.customer_key`` makes it.
        secret: Secret of the keys.
        days: Reporting days on which the customer did anything; a file's day is one of UTC.

    Raises:
        ArchiveError: A file cannot be read.
    """
    near = {day + timedelta(days=by) for day in days for by in (-1, 0, 1)} | {UNDATED}
    with connected(database) as connection, connection.begin():
        segments = find_segments(connection, tables=["sms_events", "call_events"])
    for segment in segments:
        if not segment.object_key or segment.state == SUPERSEDED or segment.day not in near:
            continue
        with TemporaryDirectory(prefix="smarttext-") as folder:
            for number in open_archived(archive, segment, Path(folder)).values("from_number", "to_number"):
                if customer_key(number, secret) == key:
                    return e164(number)
    return None
