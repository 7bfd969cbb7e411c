"""The line on the event lake: whether it is renewed, and whether somebody still keeps files that nobody renews."""

from datetime import datetime, timedelta

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
            func.count(t.planned_key).label("begun"),
        )
    ).one()
    return judge_lake(row.files, row.newest, row.begun, settings.lake_location is not None, now)


def judge_lake(files: int, newest: object, begun: int, is_kept: bool, now: datetime) -> list[Line]:
    """Return the line: how many files there are, of which newest day, and how many exports were begun and not ended."""
    if not is_kept:
        if not files:
            return []
        said = f"{counted(files, 'file')} in a lake that is no longer kept: SMARTTEXT_LAKE_URL is not set"
        return [Line("lake", State.warn, said, "set it; nobody is erased from these files meanwhile")]
    if not files:
        return [Line("lake", State.warn, "nothing is exported yet", "run `smarttext lake export --from --to`")]
    said = f"{counted(files, 'file')}, the newest of {newest}"
    if str(newest) < str((now - _LATE).date()):
        return [Line("lake", State.warn, said, "see the runs of event_lake, or run `smarttext lake export`")]
    if begun:
        left = f"{said}; {counted(begun, 'export')} begun and not ended"
        return [Line("lake", State.ok, left, "")]
    return [Line("lake", State.ok, said)]
