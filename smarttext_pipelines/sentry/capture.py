"""Sentry, initialised once per process from SENTRY_DSN, and the only way in which this project captures anything.

Nothing is captured through logging, so no failure is reported twice; events are redacted and have no local variables,
request bodies or users. An event's id follows from what it reports: Sentry drops a second one.
"""

import sys
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from smarttext_pipelines.core.redact import scrub, scrub_tree
from smarttext_pipelines.sentry.logs import scrub_logs
from smarttext_pipelines.settings import Settings

_IDS = frozenset(
    {"event_id", "trace_id", "span_id", "parent_span_id", "timestamp", "start_timestamp", "type", "release"}
)
_DROPPED = ("request", "user")


def watch_process(settings: Settings, component: str) -> None:
    """Redact what this process logs, and report what it captures to Sentry; safe to call again.

    Args:
        settings: Where Sentry is, and what is secret.
        component: Tag of the events: webserver, daemon, code-server, run-worker, cli, receiver or tracking.
    """
    scrub_logs(settings.known_secrets())
    init_sentry(settings, component)


def init_sentry(settings: Settings, component: str) -> bool:
    """Initialise Sentry unless this process, or its application, has done so; return whether it is initialised."""
    if is_active():
        return True
    if settings.sentry_dsn is None:
        return False
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration
    from sentry_sdk.integrations.threading import ThreadingIntegration
    from sentry_sdk.utils import BadDsn

    clean = partial(scrub_event, secrets=tuple(settings.known_secrets()))
    try:
        sentry_sdk.init(
            dsn=settings.sentry_dsn.get_secret_value(),
            release=f"smarttext_pipelines@{version('smarttext_pipelines')}",
            environment=settings.sentry_environment,
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[
                AtexitIntegration(callback=lambda _pending, _timeout: None),
                DedupeIntegration(),
                ExcepthookIntegration(),
                ThreadingIntegration(),
                # Records are breadcrumbs and never events: what fails is captured where it is handled.
                LoggingIntegration(event_level=None),
            ],
            include_local_variables=False,
            max_request_body_size="never",
            max_breadcrumbs=30,
            before_send=clean,
            before_send_transaction=clean,
            before_breadcrumb=clean,
        )
    except BadDsn:
        # A monitor must not stop what it monitors; doctor names the fault.
        return False
    # Ticks are evaluated in threads that inherit no other scope.
    sentry_sdk.get_global_scope().set_tag("component", component)
    return True


def is_active() -> bool:
    """Whether Sentry is initialised here, by us or by the application. Imports nothing."""
    if "sentry_sdk" not in sys.modules:
        return False
    import sentry_sdk

    return sentry_sdk.is_initialized()


def scrub_event(event: Any, _hint: Any = None, *, secrets: tuple[str, ...] = ()) -> Any:
    """Return an event, a transaction or a breadcrumb without anything personal or secret."""
    kept = {name: value for name, value in event.items() if name not in _DROPPED}
    for frame in _frames(kept):
        frame.pop("vars", None)
    return scrub_tree(kept, partial(scrub, secrets=secrets), keep=_IDS)


def _frames(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    holders = [
        *((event.get("exception") or {}).get("values") or ()),
        *((event.get("threads") or {}).get("values") or ()),
    ]
    return [frame for holder in holders for frame in (holder.get("stacktrace") or {}).get("frames") or ()]


def capture_failure(
    kind: str, identity: str, message: str, *, tags: Mapping[str, str], level: str = "error", detail: str = ""
) -> None:
    """Report a failure to Sentry, where it is initialised; the same failure again is the same event.

    Args:
        kind: What failed: run, sensor, schedule, check or delivery.
        identity: What distinguishes this failure from the next one, such as the id of the run.
        message: One line.
        tags: Such as job, asset, partition and run_id; with ``kind`` and the first of them failures are grouped.
        level: error or warning.
        detail: More of the error, such as its stack.
    """
    if not is_active():
        return
    import sentry_sdk

    grouped = ["smarttext", kind, next(iter(tags.values()), "")]
    sentry_sdk.capture_event(
        {
            "event_id": uuid5(NAMESPACE_URL, f"smarttext:{kind}:{identity}").hex,
            "message": message,
            "level": level,  # type: ignore[typeddict-item]
            "logger": f"smarttext.{kind}",
            "fingerprint": grouped,
            "tags": {"kind": kind, **tags},
            "extra": {"detail": detail} if detail else {},
        }
    )
