"""What we use of Dagster that it does not promise to keep, all of it; a test says when a release has moved something.

``launch`` needs the storage of events and ticks, to redact what is stored; ``defs`` the ticks of schedules and the tags
of ranges.
"""

from dagster._core.events.log import EventLogEntry
from dagster._core.scheduler.instigation import InstigatorTick, TickData, TickStatus
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from dagster._serdes import ConfigurableClassData, deserialize_value, serialize_value
from dagster._utils.schedules import cron_string_iterator
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from dagster_postgres.utils import pg_url_from_config
from dagster_shared.record import replace as replace_record

__all__ = [
    "ASSET_PARTITION_RANGE_END_TAG",
    "ASSET_PARTITION_RANGE_START_TAG",
    "ConfigurableClassData",
    "EventLogEntry",
    "InstigatorTick",
    "PostgresEventLogStorage",
    "PostgresScheduleStorage",
    "SqlEventLogStorageTable",
    "TickData",
    "TickStatus",
    "cron_string_iterator",
    "deserialize_value",
    "pg_url_from_config",
    "replace_record",
    "serialize_value",
]
