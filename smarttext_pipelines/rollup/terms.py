"""How the events of a range of days are read for a rollup: zone, windows, and where the events are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.engines import EngineChoice, Parameters
from smarttext_pipelines.engines.postgres import PLANNER
from smarttext_pipelines.engines.spark_session import SparkPlace
from smarttext_pipelines.lake.lake_target import LakeTarget
from smarttext_pipelines.metrics import Window
from smarttext_pipelines.schema.installation import counts_usage_by_time, require_zone


@dataclass(frozen=True)
class Terms:
    """The arguments of ``roll_up`` that say which days are read, and how; see there."""

    days: DayRange
    zone: ZoneInfo
    settle_days: int
    shared_senders: Sequence[str]
    as_of: datetime | None
    reply_minutes: int
    archive: ArchiveTarget | None
    lake: LakeTarget | None
    spark: SparkPlace | None
    secret: bytes | None = field(repr=False)

    def begin(self, connection: Connection) -> Window:
        """Prepare a transaction for statements that compute days, and return what it reads.

        Raises:
            SettingsError: The database reports in another zone.
        """
        for statement in PLANNER:
            connection.exec_driver_sql(statement)
        read_at = self.as_of or connection.execute(select(func.now())).scalar_one()
        require_zone(connection, self.zone)
        return Window(
            self.days,
            self.zone,
            self.settle_days,
            read_at,
            reply_minutes=self.reply_minutes,
            usage_by_time=counts_usage_by_time(connection),
        )

    def engines(
        self,
        connection: Connection,
        window: Window,
        facts_read: Mapping[date, datetime] | None = None,
        secret: bytes | None = None,
    ) -> EngineChoice:
        """Return the engines of a transaction.

        Args:
            connection: The transaction.
            window: Result of ``begin``.
            facts_read: When the facts of a day were read, for stats.
            secret: Secret of the customers' keys, for a statement that needs it; it goes to no other machine.
        """
        parameters = Parameters(window, self.shared_senders, facts_read or {}, secret)
        return EngineChoice(connection, parameters, self.archive, self.lake, self.spark if secret is None else None)
