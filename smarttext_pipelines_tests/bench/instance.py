"""A Dagster instance on PostgreSQL, configured as ``smarttext up`` does it."""

import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from smarttext_pipelines.launch.databases import EVENT_BATCH_SIZE

_STORAGES = {
    "run_storage": ("dagster_postgres.run_storage", "PostgresRunStorage"),
    "event_log_storage": ("smarttext_pipelines.launch.event_log", "LeanEventLogStorage"),
    "schedule_storage": ("smarttext_pipelines.launch.private", "PrivateScheduleStorage"),
}


@contextmanager
def stored_instance(url: str) -> Iterator[dg.DagsterInstance]:
    """Give an instance whose tables lie in the database at ``url``."""
    config = {"postgres_url": url.replace("postgresql://", "postgresql+psycopg2://")}
    overrides = {
        name: {"module": module, "class": class_, "config": config} for name, (module, class_) in _STORAGES.items()
    }
    logging.disable(logging.CRITICAL)
    os.environ["DAGSTER_EVENT_BATCH_SIZE"] = str(EVENT_BATCH_SIZE)
    with tempfile.TemporaryDirectory() as home:
        # YAML is a superset of JSON.
        Path(home, "dagster.yaml").write_text(json.dumps(overrides))
        try:
            with dg.DagsterInstance.from_config(home) as instance:
                yield instance
        finally:
            logging.disable(logging.NOTSET)
