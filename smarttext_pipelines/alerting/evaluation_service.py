"""Alerting with the settings of a process: what the sensor, the job and the command line call."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from smarttext_pipelines.alerting.channels import Channel, build_channels
from smarttext_pipelines.alerting.notify.deliver import Delivered, deliver
from smarttext_pipelines.alerting.notify.refresh import refresh_open
from smarttext_pipelines.sentry.capture import capture_failure
from smarttext_pipelines.settings import Settings

LOG_FILE = "alerts.log"


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


def incident_link(settings: Settings) -> str:
    """Return where people open an incident; ``{incident}`` is its number."""
    if settings.web_url:
        return f"{settings.web_url.rstrip('/')}/incidents/{{incident}}"
    return f"{str(settings.ui_url).rstrip('/')}/assets/alert_incidents"


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
        link=incident_link(settings),
        texts_per_hour=settings.alert_texts_per_hour,
    )
    for error in done.rule_errors:
        tags = {"job": "alert rules", "asset": "none"}
        capture_failure("rules", f"{now.date()} {error}", f"alert rules cannot be evaluated: {error}", tags=tags)
    return done.notices


def deliver_now(engine: Engine, channels: list[Channel], *, budget_seconds: float, stay: bool = False) -> Delivered:
    """Send what is due within the budget; who stays also waits for what is critical and becomes due within it."""
    done = deliver(engine, channels, budget_seconds=budget_seconds, wait=time.sleep if stay else None)
    if not stay:
        # The sensor alone does it: a job beside it could say again what has just ended.
        refresh_open(engine, channels)
    return done


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
