"""Hash every file that the manifest names, as stored in the archive, so that damage is found while a copy may exist."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine, func

from smarttext_pipelines.archive.manifest import (
    DELETED,
    RESTORED,
    VERIFIED,
    Segment,
    change_segment,
    find_segment,
    find_segments,
)
from smarttext_pipelines.archive.rows import open_archived
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.errors import ArchiveError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.database.findings import MAX_ROWS, Finding, texts

WHAT_TO_DO = "bring them back from a copy of the archive"
_DAMAGED = f"""\
SELECT id, table_name, day, state, rows, object_key, failure, checked_at
FROM monitoring.archive_segments
WHERE failure IS NOT NULL AND state IN ({texts(VERIFIED, DELETED, RESTORED)})
ORDER BY table_name, day, seq"""  # noqa: S608 - constants


@dataclass(frozen=True)
class Scrubbed:
    """What a check of one file found.

    Attributes:
        segment: Its segment.
        failure: What is wrong; None when the file is as it was verified.
    """

    segment: Segment
    failure: str | None


def scrub(
    database: Engine,
    archive: ArchiveTarget,
    *,
    begun: Callable[[int], None] = lambda _files: None,
    done: Callable[[], None] = lambda: None,
) -> list[Scrubbed]:
    """Check every file: its bytes, its rows and their hashes; record in the manifest what was found."""
    with connected(database) as connection:
        segments = find_segments(connection, states=[VERIFIED, DELETED, RESTORED])
        connection.commit()
        begun(len(segments))
        results = []
        for segment in segments:
            failure = _fault(archive, segment)
            with connection.begin():
                now = find_segment(connection, segment.id)
                # An archiver or an erasure may have been at it meanwhile: what is said must be true of what is there.
                if now.state == segment.state and now.object_key == segment.object_key:
                    change_segment(connection, now, failure=failure, checked_at=func.now())
                    results.append(Scrubbed(segment, failure))
            done()
    return results


def raise_damage(results: list[Scrubbed]) -> None:
    """Raise ArchiveError when a file that is the only holder of rows, or any other, is not as it was verified."""
    if found := damage_finding(results):
        msg = f"{found.said}; {WHAT_TO_DO}"
        raise ArchiveError(msg)


def damage_finding(results: list[Scrubbed]) -> Finding | None:
    """Return which files are not as they were verified; None when all are."""
    damaged = [r for r in results if r.failure]
    if not damaged:
        return None
    only = sum(r.segment.state == DELETED for r in damaged)
    said = (
        f"{len(damaged)} of {len(results)} files are not as they were verified, {only} of them the only holders of "
        f"their rows: {damaged[0].failure}"
    )
    rows = [
        {
            "id": r.segment.id,
            "table": r.segment.table_name,
            "day": r.segment.day,
            "state": r.segment.state,
            "found": r.failure,
        }
        for r in damaged
    ]
    return Finding(said, rows[:MAX_ROWS], _DAMAGED)


def _fault(archive: ArchiveTarget, segment: Segment) -> str | None:
    try:
        with TemporaryDirectory(prefix="smarttext-") as folder:
            open_archived(archive, segment, Path(folder), is_fresh=True)
    except ArchiveError as error:
        return str(error)
    return None
