"""What we use of Dagster's storage of events and ticks, to redact what is stored; nothing promises that it stays."""

from dagster._core.events.log import EventLogEntry
from dagster._core.scheduler.instigation import InstigatorTick, TickData
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._serdes import ConfigurableClassData, deserialize_value, serialize_value
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from dagster_postgres.utils import pg_url_from_config
from dagster_shared.record import replace as replace_record

__all__ = [
    "ConfigurableClassData",
    "EventLogEntry",
    "InstigatorTick",
    "PostgresEventLogStorage",
    "PostgresScheduleStorage",
    "SqlEventLogStorageTable",
    "TickData",
    "deserialize_value",
    "pg_url_from_config",
    "replace_record",
    "serialize_value",
]
