"""Dagster's event log on PostgreSQL, for runs of thousands of partitions and for a storage that stays small.

``dagster-postgres`` opens three connections for each planned partition: planning a year in one run took 82 s, with this
few. The planned partitions of a run are written in one statement. Our checks look at all days of their run, but
Dagster plans them once per day, and keeps the plans for ever; here a check is planned once and deleted with its run.
The content of an event is redacted before it is stored.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dagster import DagsterEventType
from sqlalchemy import text

from smarttext_pipelines.launch.private import scrubbed, watch_dagster_process
from smarttext_pipelines.launch.storage_internals import (
    ConfigurableClassData,
    EventLogEntry,
    PostgresEventLogStorage,
    SqlEventLogStorageTable,
    pg_url_from_config,
    replace_record,
)

_RESULT = "result"
"""Name of an asset's own output."""

_DELETE_CHECKS = text(
    """
    DELETE FROM asset_check_executions AS old
    WHERE run_id = :run_id AND EXISTS (
        SELECT FROM asset_check_executions AS newer
        WHERE newer.asset_key = old.asset_key AND newer.check_name = old.check_name AND newer.id > old.id)
    """
)


class LeanEventLogStorage(PostgresEventLogStorage):
    """The event log of ``dagster-postgres``; plans in batches, leaves out what nobody reads, deletes all of a run."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "LeanEventLogStorage":
        """Return the storage that ``dagster.yaml`` describes; every process of Dagster calls this once."""
        watch_dagster_process()
        return cls(postgres_url=pg_url_from_config(config_value), inst_data=inst_data)

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, except the outputs of checks, which the checks' evaluations repeat."""
        kind = event.dagster_event_type
        if kind is DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            self.store_asset_check_event(_without_partitions(event), None)
        elif kind is not DagsterEventType.STEP_OUTPUT or _is_of_asset(event):
            super().store_event(scrubbed(event))

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events; those that plan a materialization in one statement, and those that report one."""
        by_kind: dict[DagsterEventType, list[EventLogEntry]] = {}
        for event in events:
            by_kind.setdefault(event.get_dagster_event().event_type, []).append(event)
        for kind, alike in by_kind.items():
            if kind is DagsterEventType.ASSET_MATERIALIZATION_PLANNED:
                self._store_planned(alike)
            else:
                # One by one in the base class, but for what it can batch: materializations and observations.
                super().store_event_batch([scrubbed(event) for event in alike])

    def delete_events(self, run_id: str) -> None:
        """Delete the events of a run, and its check executions but for the last of each check."""
        super().delete_events(run_id)
        with self._connect() as connection:
            connection.execute(_DELETE_CHECKS, {"run_id": run_id})

    def _store_planned(self, events: Sequence[EventLogEntry]) -> None:
        with self._connect() as connection:
            inserted = connection.execute(
                self.prepare_insert_event_batch(events).returning(SqlEventLogStorageTable.c.id)
            )
            ids = [row[0] for row in inserted]
        # An asset's row names its last event only.
        last = {event.get_dagster_event().asset_key: (event, id_) for event, id_ in zip(events, ids, strict=True)}
        with self.index_transaction() as connection:
            for event, id_ in last.values():
                self._store_asset_event(connection, event, id_)


def _without_partitions(event: EventLogEntry) -> EventLogEntry:
    planned = event.get_dagster_event()
    data = replace_record(planned.asset_check_planned_data, partitions_subset=None)
    return event._replace(dagster_event=planned._replace(event_specific_data=data))


def _is_of_asset(event: EventLogEntry) -> bool:
    return event.get_dagster_event().step_output_data.output_name == _RESULT
