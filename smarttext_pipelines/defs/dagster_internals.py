"""What the graph uses of Dagster that it does not promise to keep; a test says when a release has moved something.

``launch/storage_internals.py`` has what the storages need, which takes long to import.
"""

from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from dagster._utils.schedules import cron_string_iterator

__all__ = [
    "ASSET_PARTITION_RANGE_END_TAG",
    "ASSET_PARTITION_RANGE_START_TAG",
    "InstigatorTick",
    "TickStatus",
    "cron_string_iterator",
]
