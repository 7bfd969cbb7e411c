"""The one resource: the event database with the settings of this process.

A plain object, not a configurable resource: a resource's configuration is shown by the
unauthenticated GraphQL API.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.database.connect import connected, open_engine
from smarttext_pipelines.lake.lake_target import LakeTarget, find_lake, require_lake
from smarttext_pipelines.retention.policy import may_delete_unasked
from smarttext_pipelines.schema.installation import require_installation
from smarttext_pipelines.settings import Settings, customer_secret

if TYPE_CHECKING:
    from smarttext_pipelines.lake.export import DayExported
    from smarttext_pipelines.retention.run import DayDone
    from smarttext_pipelines.rollup import LakeFile, RolledUp, SharedRead, SparkPlace
    from smarttext_pipelines.rollup.drift import ChangedDay
    from smarttext_pipelines.rollup.report import Report


@cache
def _usable(url: str, zone: ZoneInfo) -> Engine:
    """Return an engine on a database that was looked at once in this process."""
    engine = open_engine(url)
    require_installation(engine, zone)
    return engine


@dataclass(frozen=True)
class Warehouse:
    """Access to the event database."""

    settings: Settings

    def engine(self) -> Engine:
        """Return an engine on a database that this version can work with.

        Raises:
            SettingsError: ``SMARTTEXT_DATABASE_URL`` is not set, or the database reports in another zone.
            SchemaError: The database is not migrated.
        """
        if self.settings.database_url is None:
            message = "SMARTTEXT_DATABASE_URL is not set; set it, or start with `smarttext up`, which sets it"
            raise SettingsError(message)
        return _usable(self.settings.database_url.get_secret_value(), self.settings.zone)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give a connection whose transaction commits at the end."""
        with connected(self.engine()) as connection, connection.begin():
            yield connection

    def archive(self) -> ArchiveTarget:
        """Return where archived events are stored."""
        return ArchiveTarget(self.settings.archive_location)

    def lake(self) -> LakeTarget | None:
        """Return where the lake is; None where none is kept."""
        return find_lake(self.settings)

    def export_days(self, days: DayRange, done: "Callable[[DayExported], None]") -> "list[DayExported]":
        """Write days into the lake; see ``lake.export``.

        Raises:
            SettingsError: No lake is kept.
        """
        from smarttext_pipelines.lake.export import export_days
        from smarttext_pipelines.lake.lake_day import Places

        places = Places(require_lake(self.settings), self.archive())
        return export_days(self.engine(), places, days, done=done)

    def archive_days(
        self,
        days: int | None,
        tables: Sequence[str],
        *,
        done: "Callable[[DayDone], None]",
        begun: Callable[[int], None],
    ) -> "list[DayDone]":
        """Archive what is old enough, and delete only what may be deleted unasked; see ``retention.run``."""
        from smarttext_pipelines.database.embedded import is_embedded
        from smarttext_pipelines.retention.run import Retention, archive_days

        s = self.settings
        with connected(self.engine()) as connection:
            is_ours = is_embedded(connection, s.data_dir)
        deletes = may_delete_unasked(
            is_embedded=is_ours, is_wanted=s.retention_delete, has_archive_url=s.archive_url is not None
        )
        retention = Retention(s.zone, s.settle_days, days or s.retention_days, deletes, tuple(tables))
        return archive_days(self.engine(), self.archive(), retention, done=done, begun=begun)

    def roll_up(
        self, metric: str, days: DayRange, *, allow_empty: bool = False, shared: "SharedRead | None" = None
    ) -> "RolledUp":
        """Roll one metric up; see ``rollup.roll_up``."""
        # Ibis is imported by the process that computes, not by every one that looks at the graph.
        from smarttext_pipelines.metrics import METRICS
        from smarttext_pipelines.rollup import roll_up

        s = self.settings
        return roll_up(
            self.engine(),
            METRICS[metric],
            days,
            zone=s.zone,
            settle_days=s.settle_days,
            shared_senders=[number.get_secret_value() for number in s.shared_senders],
            allow_empty=allow_empty,
            reply_minutes=s.reply_minutes,
            archive=self.archive(),
            lake=self.lake(),
            spark=self._spark(),
            customer_secret=customer_secret(s) if metric == "customer_days" else None,
            shared=shared,
        )

    def _spark(self) -> "SparkPlace | None":
        from smarttext_pipelines.rollup import SparkPlace

        s = self.settings
        if s.spark_remote is None:
            return None
        token = s.spark_token.get_secret_value() if s.spark_token else None
        return SparkPlace(s.spark_remote, token, s.spark_rows, self._files_for_spark)

    def _files_for_spark(self, connection: Connection, table: str, days: DayRange) -> "list[LakeFile]":
        from smarttext_pipelines.lake.current_files import lake_files_of, lake_rows_of
        from smarttext_pipelines.rollup import LakeFile

        place = self.settings.lake_spark_location
        found = lake_files_of(connection, table, days, place=place) if place else []
        rows = lake_rows_of(connection, table, [day for day, _ in found])
        return [LakeFile(day, url, rows[day]) for day, url in found]

    def report(self, result: "RolledUp") -> "Report":
        """Read what is shown of a rollup; see ``rollup.report``."""
        from smarttext_pipelines.rollup.report import read_report

        with connected(self.engine()) as connection:
            return read_report(connection, result, zone=self.settings.zone, settle_days=self.settings.settle_days)

    def changed_days(self, days: DayRange) -> "list[ChangedDay]":
        """Return where rows were added since the last rollup; see ``rollup.drift``."""
        from smarttext_pipelines.rollup.drift import changed_days

        with self.transaction() as connection:
            return changed_days(connection, days, self.settings.zone, self.archive())


@dataclass
class FactsOfARun:
    """What the facts of one run share, see ``rollup.shared_read``: made by the first of them.

    Attributes:
        facts: The facts that the run computes.
    """

    facts: Collection[str]
    _stack: ExitStack = field(default_factory=ExitStack)
    _shared: "SharedRead | None" = None

    def shared(self) -> "SharedRead":
        """Return the reading, which ends with the run at the latest."""
        if self._shared is None:
            from smarttext_pipelines.rollup import SharedRead

            self._shared = self._stack.enter_context(SharedRead(self.facts))
        return self._shared

    def close(self) -> None:
        """End the reading."""
        self._stack.close()
