"""Redacts numbers, texts and keys in what Dagster stores and shows: events, metadata, stack traces, ticks.

Everything passes through its storage, so that is where it is redacted; the UI has no authentication.
"""

import json
import sys
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, TypeVar

from dagster import DagsterEventType

from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.core.redact import scrub, scrub_tree
from smarttext_pipelines.launch.storage_internals import (
    ConfigurableClassData,
    InstigatorTick,
    PostgresScheduleStorage,
    TickData,
    deserialize_value,
    pg_url_from_config,
    serialize_value,
)
from smarttext_pipelines.sentry.capture import watch_process
from smarttext_pipelines.settings import load_settings

T = TypeVar("T")
_NOTHING_TOLD = {
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
    DagsterEventType.STEP_START,
    DagsterEventType.HANDLED_OUTPUT,
    DagsterEventType.LOADED_INPUT,
}
"""Events of names only; a run has thousands of them."""

_PICTURE = "](data:image/"
_COMPONENTS = {"webserver": "webserver", "daemon": "daemon", "grpc": "code-server", "execute_run": "run-worker"}


@cache
def watch_dagster_process() -> None:
    """Begin to redact the logs of this process, and report to Sentry which of Dagster's it is."""
    try:
        settings = load_settings()
    except SettingsError:
        # The graph, or the command, reports that itself.
        return
    command = " ".join(sys.argv[:3]) + " ".join(sys.orig_argv[:5])
    component = next((name for part, name in _COMPONENTS.items() if part in command), "cli")
    watch_process(settings, component)


def scrubbed(value: T) -> T:
    """Return an event or a tick of Dagster with every text in it redacted."""
    kind = getattr(value, "dagster_event_type", None)
    if kind in _NOTHING_TOLD:
        return value
    stored = json.loads(serialize_value(value))  # type: ignore[arg-type]
    clean = scrub_tree(stored, _scrub_unless_picture)
    return value if clean == stored else deserialize_value(json.dumps(clean))  # type: ignore[return-value]


@lru_cache(maxsize=512)
def _scrub_unless_picture(text: str) -> str:
    # One of our plots: by chance its letters may look like a number. Names and statements repeat with each day.
    return text if _PICTURE in text else scrub(text)


class PrivateScheduleStorage(PostgresScheduleStorage):
    """The ticks of ``dagster-postgres``, redacted."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PrivateScheduleStorage":
        """Return the storage that ``dagster.yaml`` describes."""
        return cls(postgres_url=pg_url_from_config(config_value), inst_data=inst_data)

    def create_tick(self, tick_data: TickData) -> InstigatorTick:
        """Store the begin of a tick."""
        return super().create_tick(scrubbed(tick_data))

    def update_tick(self, tick: InstigatorTick) -> InstigatorTick:
        """Store what became of a tick."""
        return super().update_tick(scrubbed(tick))
