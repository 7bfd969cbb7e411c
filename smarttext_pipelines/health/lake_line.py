"""The line on the event lake: whether it is renewed, and whether somebody still keeps files that nobody renews."""

from datetime import date, datetime, timedelta

from sqlalchemy import Connection, func, select

from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.health.verdicts import Line, State
from smarttext_pipelines.schema.tables.lake_files import lake_files
from smarttext_pipelines.settings import Settings

_LATE = timedelta(days=2)


def lake(connection: Connection, settings: Settings, now: datetime) -> list[Line]:
    """Judge the lake by its manifest; no line where none is kept and none was."""
    t = lake_files.c
    row = connection.execute(
        select(
            func.count(t.key).label("files"),
            func.max(t.day).filter(t.key.is_not(None)).label("newest"),
        )
    ).one()
    return judge_lake(row.files, row.newest, is_kept=settings.lake_location is not None, now=now)


def judge_lake(files: int, newest: date | None, *, is_kept: bool, now: datetime) -> list[Line]:
    """Return the line on so many files, the newest of a day."""
    if not is_kept:
        if not files:
            return []
        said = f"{counted(files, 'file')} in a lake that is no longer kept: SMARTTEXT_LAKE_URL is not set"
        return [Line("lake", State.warn, said, "set it; nobody is erased from these files meanwhile")]
    last = (now - timedelta(days=1)).date()
    if newest is None:
        todo = f"run `smarttext lake export --from {last} --to {last}`"
        return [Line("lake", State.warn, "nothing is exported yet", todo)]
    said = f"{counted(files, 'file')}, the newest of {newest}"
    if newest < (now - _LATE).date():
        first = newest + timedelta(days=1)
        todo = f"see the runs of event_lake, or run `smarttext lake export --from {first} --to {last}`"
        return [Line("lake", State.warn, said, todo)]
    return [Line("lake", State.ok, said)]
