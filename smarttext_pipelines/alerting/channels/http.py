"""The one reading of an HTTP status by a channel without an SDK: taken, refused, later, or nobody knows."""

from dataclasses import dataclass
from typing import Any

from smarttext_pipelines.alerting.channels.channel import Later, Outcome, Probe, Rejected, Sent, Unclear

TIMEOUT_SECONDS = 7.0
PROBE_SECONDS = 5.0
_RETRY_AFTER_SECONDS = 5.0


def post(url: str, body: object, *, headers: dict[str, str] | None = None) -> Outcome:
    """Post JSON once; no redirect is followed."""
    # Looking at the registry costs no import of requests.
    import requests

    try:
        answer = requests.post(url, json=body, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False)
    except requests.ConnectTimeout:
        return Later(_RETRY_AFTER_SECONDS, "no connection in time")
    except requests.RequestException as error:
        # Its text holds the URL, which can be the secret.
        return Unclear(type(error).__name__)
    return of_status(answer.status_code, answer.headers)


def of_status(status: int, headers: Any) -> Outcome:
    """Return what a status says."""
    if status < 300:
        return Sent()
    if status == 429:
        return Later(retry_after(headers), "429")
    return Unclear(str(status)) if status >= 500 else Rejected(str(status))


def retry_after(headers: Any) -> float:
    """Return the seconds of a Retry-After header; a date or none counts as five."""
    try:
        return max(1.0, float(headers.get("Retry-After", _RETRY_AFTER_SECONDS)))
    except (TypeError, ValueError):
        return _RETRY_AFTER_SECONDS


@dataclass(frozen=True)
class Answer:
    """A provider's answer: its status, and its JSON object, empty where it gave none."""

    status: int
    body: dict[str, Any]


def ask(method: str, url: str, status_page: str, *, headers: dict[str, str] | None = None) -> Answer | Probe:
    """Ask without sending anything; return what a probe says where nobody answered in JSON."""
    import requests

    try:
        answer = requests.request(method, url, headers=headers, timeout=PROBE_SECONDS, allow_redirects=False)
        body = answer.json() if answer.ok else {}
    except (requests.RequestException, ValueError) as error:
        # The text of the error can quote a URL with a secret in it.
        return Probe(False, f"did not answer: {type(error).__name__}", f"see the network here and {status_page}")
    return Answer(answer.status_code, body if isinstance(body, dict) else {})
