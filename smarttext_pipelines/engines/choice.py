"""Which engine reads the events of a window: manifests say so, in the snapshot that the rows are read in."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection

from smarttext_pipelines.archive.manifest import DELETED, Segment, find_segments
from smarttext_pipelines.archive.merged import OF_LAKE, ArchivedFile
from smarttext_pipelines.archive.rows import open_archived
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.errors import ArchiveError
from smarttext_pipelines.engines.archive import ArchiveEngine
from smarttext_pipelines.engines.engine import Engine, Parameters, SourceDay
from smarttext_pipelines.engines.live import live_rows
from smarttext_pipelines.engines.near_files import archive_days, holds_most, is_range, lake_files_near
from smarttext_pipelines.engines.postgres import PostgresEngine
from smarttext_pipelines.engines.spark_session import SparkPlace
from smarttext_pipelines.lake.lake_day import open_lake_file
from smarttext_pipelines.lake.lake_manifest import LakeFile
from smarttext_pipelines.lake.lake_target import LakeTarget
from smarttext_pipelines.metrics import Window
from smarttext_pipelines.metrics.event_tables import SOURCE_TIMES, source_days
from smarttext_pipelines.schema.tables.lookup import table_named


@dataclass(frozen=True)
class EngineChoice:
    """The engines of one transaction.

    Attributes:
        connection: REPEATABLE READ, so that manifest and rows are of one snapshot.
        parameters: The window, and what else statements know.
        archive: Where archived files are; None where the caller has none.
        lake: Where files of the lake are, for a caller that may read them in the place of rows; None for any other.
        spark: Where Spark is, for windows of many rows; None where there is none.
        notes: Why Spark or the lake was not used where it was wanted.
    """

    connection: Connection
    parameters: Parameters
    archive: ArchiveTarget | None
    lake: LakeTarget | None = None
    spark: SparkPlace | None = None
    notes: list[str] = field(default_factory=list)
    _open: list[tuple[frozenset[str], Engine]] = field(default_factory=list)
    _counted: dict[str, dict[date, SourceDay]] = field(default_factory=dict)

    @cached_property
    def postgres(self) -> PostgresEngine:
        """The engine for what is in the database."""
        return PostgresEngine(self.connection, self.parameters)

    @contextmanager
    def engine_for(self, tables: Collection[str]) -> Iterator[Engine]:
        """Give PostgreSQL where all rows of the tables are there, DuckDB over both where some are archived, or Spark.

        DuckDB is given, too, for a range of days that the lake holds most of. A day that the lake holds as it is now is
        read from there alone.

        Raises:
            ArchiveError: A file that holds rows of the window is missing or damaged, or the archive is not configured.
            SettingsError: Spark is wanted, and its URL or token is wrong.
            DatabaseError: Spark is wanted and cannot be reached.
        """
        segments = self._segments([name for name in tables if name in SOURCE_TIMES])
        with ExitStack() as stack:
            engine = self._spark(tables, segments, stack) or self._near_or_without_lake(tables, segments, stack)
            self._open.append((frozenset(tables), engine))
            stack.callback(self._open.pop)
            yield engine

    def source_days(self, source: str) -> dict[date, SourceDay]:
        """Return what can be read of a source, by day, for the window and its neighbours."""
        for tables, engine in self._open:
            if source in tables and not isinstance(engine, PostgresEngine):
                return read_source_days(engine, source, self.parameters.window)
            if source in tables:
                # PostgreSQL answers the same for as long as the snapshot lasts.
                if source not in self._counted:
                    self._counted[source] = read_source_days(engine, source, self.parameters.window)
                return self._counted[source]
        with ExitStack() as stack:
            engine = self._near_or_without_lake([source], self._segments([source]), stack)
            return read_source_days(engine, source, self.parameters.window)

    def _near_or_without_lake(self, tables: Collection[str], segments: list[Segment], stack: ExitStack) -> Engine:
        """Open what is near; every row that a file of the lake holds is elsewhere, too, so that one may be missing."""
        sources = [name for name in tables if name in SOURCE_TIMES]
        files = self._lake_files(sources, has_archived=bool(segments)) if self.lake else []
        try:
            return self._near(tables, segments, files, stack)
        except ArchiveError as error:
            if not files:
                raise
            self.notes.append(f"the lake was not used: {error}")
        return self._near(tables, segments, [], stack)

    def _near(
        self, tables: Collection[str], segments: list[Segment], files: list[LakeFile], stack: ExitStack
    ) -> Engine:
        """Open DuckDB where rows are in files, in the archive or the lake; else give PostgreSQL."""
        sources = [name for name in tables if name in SOURCE_TIMES]
        if not segments and not files:
            return self.postgres
        in_lake = {name: {f.day for f in files if f.table_name == name} for name in sources}
        segments = [s for s in segments if s.day not in in_lake[s.table_name]]
        folder = stack.enter_context(TemporaryDirectory(prefix="smarttext-"))
        archived = self._fetch(segments, files, Path(folder))
        window = self.parameters.window
        live = {
            name: live_rows(self.connection, table_named(name), window, in_lake.get(name, frozenset()))
            for name in tables
            if name in SOURCE_TIMES or name == "businesses"
        }
        return stack.enter_context(ArchiveEngine(self.connection, self.parameters, live, archived))

    def _spark(self, tables: Collection[str], segments: list[Segment], stack: ExitStack) -> Engine | None:
        if self.spark is None:
            return None
        from smarttext_pipelines.engines.spark_choice import open_spark

        days = archive_days(self.parameters.window)
        engine, obstacle = open_spark(self.connection, self.parameters, self.spark, tables, segments, days)
        if obstacle:
            self.notes.append(f"{self.spark.name} was not used: {obstacle}")
        return stack.enter_context(engine) if engine else None

    def _segments(self, tables: Collection[str]) -> list[Segment]:
        """Return the segments whose rows may belong to the window or its neighbours."""
        window = self.parameters.window
        found = find_segments(self.connection, tables=tables, days=archive_days(window), states=[DELETED])
        if window.usage_by_time and "api_usage" in tables:
            # Its unit is reset_date, of which the time of a row may be any number of days away.
            times = (window.search_start_at, window.search_end_at)
            timed = find_segments(self.connection, tables=["api_usage"], times=times, states=[DELETED])
            found += [segment for segment in timed if segment not in found]
        return found

    def _lake_files(self, tables: Collection[str], *, has_archived: bool) -> list[LakeFile]:
        """Return the files that are read in the place of rows; none where PostgreSQL computes faster without them."""
        window = self.parameters.window
        if not has_archived and not is_range(window):
            return []
        files = lake_files_near(self.connection, tables, window)
        return files if has_archived or holds_most(files, window) else []

    def _fetch(
        self, segments: Collection[Segment], of_lake: Collection[LakeFile], folder: Path
    ) -> dict[str, list[ArchivedFile]]:
        files: dict[str, list[ArchivedFile]] = {}
        for s in segments:
            if self.archive is None:
                days = sorted({s.day for s in segments})
                msg = f"events of {days[0]} … {days[-1]} are archived; set SMARTTEXT_ARCHIVE_URL to where"
                raise ArchiveError(msg)
            path = open_archived(self.archive, s, folder).path
            files.setdefault(s.table_name, []).append(ArchivedFile(path, s.seq, s.changed_ids or ()))
        if self.lake is not None:
            for f in of_lake:
                path = open_lake_file(self.lake, f, folder).path
                files.setdefault(f.table_name, []).append(ArchivedFile(path, OF_LAKE))
        return files


def read_source_days(engine: Engine, source: str, window: Window) -> dict[date, SourceDay]:
    """Return what an engine can read of a source, by day, for the window and its neighbours."""
    rows = engine.fetch(source_days(source, engine.tables, window))
    return {row["day"]: SourceDay(row["rows"], row["newest_event_at"]) for row in rows}
