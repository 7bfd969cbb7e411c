"""Which days a cluster may read from files of the lake, and which rows have to be sent to it; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from smarttext_pipelines.archive.manifest import Segment
from smarttext_pipelines.engines.spark_session import LakeFile

MOST_SENT = 100_000
"""Live rows that are sent to a cluster at most, for each table."""


@dataclass(frozen=True)
class Cover:
    """How the rows of a table near a window reach a cluster.

    Attributes:
        table: The event table.
        files: Files of days that the lake holds.
        sent_rows: Live rows of other days.
        archived_days: Days whose archived rows no file holds.
        rows: All rows.
    """

    table: str
    files: tuple[LakeFile, ...]
    sent_rows: int
    archived_days: tuple[date, ...]
    rows: int

    @property
    def obstacle(self) -> str | None:
        """Why a cluster cannot read the table; None where it can."""
        if self.archived_days:
            return f"the lake lacks archived rows of {self.table} of {self.archived_days[0]}"
        if self.sent_rows > MOST_SENT:
            return f"{self.sent_rows:,} rows of {self.table} are not in the lake yet; at most {MOST_SENT:,} are sent"
        return None


def archived_rows(segments: Iterable[Segment]) -> dict[date, int]:
    """Return the rows that left the database, by day; those that changed before they could leave are live."""
    found: dict[date, int] = {}
    for segment in segments:
        found[segment.day] = found.get(segment.day, 0) + (segment.rows or 0) - len(segment.changed_ids or ())
    return found


def cover_of(table: str, files: Sequence[LakeFile], live: Mapping[date, int], archived: Mapping[date, int]) -> Cover:
    """Take a day from its file where there is one, and its live rows where there is none.

    Args:
        table: The event table.
        files: Files of the lake.
        live: Rows that the database holds, by day.
        archived: Rows that only the archive holds, by day.
    """
    covered = {f.day for f in files}
    sent = sum(count for day, count in live.items() if day not in covered)
    missing = {day: rows for day, rows in archived.items() if rows and day not in covered}
    rows = sum(f.rows for f in files) + sent + sum(missing.values())
    return Cover(table, tuple(files), sent, tuple(sorted(missing)), rows)


def differing_days(files: Sequence[LakeFile], found: Mapping[date, int]) -> list[date]:
    """Return the days of which a cluster finds another number of rows than the lake's manifest says."""
    said = {f.day: f.rows for f in files if f.rows}
    return sorted(day for day in {*said, *found} if said.get(day) != found.get(day))
