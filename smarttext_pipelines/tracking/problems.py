"""Reports problems: warnings in the log, once a minute each, and failed messages as events in Sentry.

Sentry gets one event per (kind, status, code, business) and ten minutes, with a count; where the application has not
initialised it, the first event does, if SENTRY_DSN is set. Our import never does.
"""

import logging
import threading
import time

from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.core.redact import scrub
from smarttext_pipelines.sentry.capture import init_sentry, is_active
from smarttext_pipelines.settings import load_settings

WINDOW_S = 600.0
_WARN_S = 60.0
_log = logging.getLogger("smarttext_pipelines.tracking")


class Problems:
    """Collects problems of a process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._warned: dict[tuple[object, ...], float] = {}
        self._noted: dict[tuple[str, ...], tuple[float, int]] = {}

    def warn(self, message: str, *values: object) -> None:
        """Log a warning, redacted; the same one with the same first value at most once a minute."""
        now, key = time.monotonic(), (message, *values[:1])
        with self._lock:
            if now - self._warned.get(key, -_WARN_S) < _WARN_S:
                return
            self._warned[key] = now
        _log.warning("%s", scrub(message % values))

    def note(self, *key: object) -> None:
        """Count a problem; the first of a window opens it."""
        named = tuple("" if part is None else str(part) for part in key)
        with self._lock:
            begun, count = self._noted.get(named, (time.monotonic(), 0))
            self._noted[named] = (begun, count + 1)

    def send_due(self) -> None:
        """Send what was opened ten minutes ago."""
        self._send(time.monotonic() - WINDOW_S)

    def send_all(self) -> None:
        """Send everything that was counted, and see it go: a process may be about to end."""
        if self._send(float("inf")):
            import sentry_sdk

            sentry_sdk.flush(2)

    def _send(self, opened_before: float) -> bool:
        with self._lock:
            due = {key: count for key, (begun, count) in self._noted.items() if begun <= opened_before}
            for key in due:
                del self._noted[key]
        if not due or not _is_told():
            return False
        for (kind, status, code, business), count in due.items():
            _capture(kind, status, code, business, count)
        return True


def _is_told() -> bool:
    """Whether there is a Sentry to report to; checked only when there is something to report."""
    if is_active():
        return True
    try:
        return init_sentry(load_settings(), "tracking")
    except SettingsError:
        return False


def _capture(kind: str, status: str, code: str, business: str, count: int) -> None:
    import sentry_sdk

    with sentry_sdk.new_scope() as scope:
        scope.fingerprint = ["smarttext", kind, status, code, business]
        for name, value in {"status": status, "error_code": code, "business_id": business}.items():
            scope.set_tag(name, scrub(value))
        scope.set_extra("count", count)
        sentry_sdk.capture_message(scrub(f"{kind} {status} {code}".strip()), level="warning")
