"""Alerting with the settings of a process: what the sensor, the job and the command line call."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from smarttext_pipelines.alerting.channels import Channel, build_channels
from smarttext_pipelines.alerting.notify.deliver import Delivered, deliver
from smarttext_pipelines.core.display import shown
from smarttext_pipelines.settings import Settings

LOG_FILE = "alerts.log"

_TELL = text(
    """
    INSERT INTO monitoring.alert_signals (signal, scope, value, detail) VALUES (:signal, :scope, :value, :detail)
    ON CONFLICT (signal, scope) DO UPDATE
    SET value = EXCLUDED.value, detail = EXCLUDED.detail, told_at = EXCLUDED.told_at
    WHERE alert_signals.value <> EXCLUDED.value OR alert_signals.detail IS DISTINCT FROM EXCLUDED.detail
    """
)
_RAISED = text(
    """
    SELECT scope, told_at FROM monitoring.alert_signals
    WHERE signal = :signal AND value > 0 AND scope LIKE :kind || ':%' ORDER BY told_at LIMIT 20
    """
)
_LONGEST_DETAIL = 300


def log_to(settings: Settings) -> Callable[[str], None]:
    """Return how the log channel writes: to a file of the data directory that ``smarttext up`` shows."""
    path = settings.data_dir / LOG_FILE

    def write(message: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write(message + "\n\n")

    return write


def configured_channels(settings: Settings, write: Callable[[str], None] | None = None) -> list[Channel]:
    """Return the channels of this process."""
    return build_channels(settings, write or log_to(settings))


def evaluate_now(engine: Engine, settings: Settings, channels: list[Channel], now: datetime) -> Mapping[str, int]:
    """Evaluate all rules; return the notices that were enqueued by kind."""
    # Ibis is imported by the process that measures, not by every one that looks at the graph.
    from smarttext_pipelines.alerting.incidents.evaluate import evaluate
    from smarttext_pipelines.alerting.measuring.now import Place
    from smarttext_pipelines.alerting.rules.rules_file import load_rules

    place = Place.of(settings)
    done = evaluate(
        engine,
        load_rules(settings.alert_rules),
        channels,
        place,
        now=now,
        ui_url=settings.ui_url,
        texts_per_hour=settings.alert_texts_per_hour,
    )
    return done.notices


def deliver_now(engine: Engine, channels: list[Channel], *, budget_seconds: float, stay: bool = False) -> Delivered:
    """Send what is due within the budget; who stays also waits for what is critical and becomes due within it."""
    return deliver(engine, channels, budget_seconds=budget_seconds, wait=time.sleep if stay else None)


def tell_signal(connection: Connection, signal: str, scope: str, value: float, detail: str = "") -> None:
    """Tell the rules a present value; telling the same again changes nothing.

    Args:
        connection: In a transaction.
        signal: Metric of the rules, such as ``pipeline_failures``.
        scope: What it concerns, such as ``job:rollup_job``.
        value: 0 when all is well.
        detail: Reason in one line; numbers and secrets are masked.
    """
    said = shown(detail, _LONGEST_DETAIL)
    connection.execute(_TELL, {"signal": signal, "scope": scope, "value": value, "detail": said})


def raised_signals(connection: Connection, signal: str, kind: str) -> dict[str, datetime]:
    """Return the scopes of a kind whose signal is raised, and since when; the oldest twenty."""
    found = connection.execute(_RAISED, {"signal": signal, "kind": kind})
    return {row.scope.split(":", 1)[1]: row.told_at for row in found}


def follow_log(settings: Settings) -> Callable[[], str]:
    """Return a function that gives what the log channel has written since it was last called."""
    path: Path = settings.data_dir / LOG_FILE
    place = path.stat().st_size if path.exists() else 0

    def read() -> str:
        nonlocal place
        if not path.exists() or path.stat().st_size <= place:
            return ""
        with path.open("rb") as log:
            log.seek(place)
            new = log.read()
        place += len(new)
        return new.decode(errors="replace")

    return read
