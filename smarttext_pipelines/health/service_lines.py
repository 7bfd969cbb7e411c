"""Lines on what lies outside the database: credentials, asked without sending anything, and the disk."""

import http
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import requests

from smarttext_pipelines.alerting.channels import CHANNELS
from smarttext_pipelines.alerting.channels.channel import Probe
from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.health.billing_line import openai
from smarttext_pipelines.health.verdicts import Line, State
from smarttext_pipelines.settings import Settings

_TIMEOUT_SECONDS = 5
_SPARK_SECONDS = 30
_REFUSES_GET = 405
DISK_FAIL_BYTES, DISK_WARN_BYTES = 500 * 10**6, 2 * 10**9


def service_lines(settings: Settings, *, anew: bool) -> list[Line]:
    """Judge every service that is configured, and name those that are not.

    Args:
        settings: What is configured.
        anew: Whether everything is asked now, also what answers of a while ago would do for.
    """
    channels = [_probed(kind.name, kind.probe(settings)) for kind in CHANNELS.values() if kind.probe]
    # A session of a cluster each minute is too much to ask.
    checks = (sentry, receiver, dashboard, *((spark,) if anew else ()), switch)
    others = (check(settings) for check in checks)
    return [*channels, twilio(settings), openai(settings, anew=anew), *others]


def _probed(channel: str, found: Probe) -> Line:
    state = {None: State.unknown, True: State.ok, False: State.fail}[found.is_well]
    return Line(channel, state, found.said, found.todo)


def twilio(settings: Settings) -> Line:
    """Ask Twilio for the account."""
    # Importing it takes a fifth of a second, which everything that loads the graph would pay.
    from twilio.base.exceptions import TwilioException, TwilioRestException

    from smarttext_pipelines.twilio.client import TooManyRequestsError, build_twilio_client

    if settings.twilio_account_sid is None or settings.twilio_auth_token is None:
        return Line("twilio", State.unknown, "not configured")
    sid, token = settings.twilio_account_sid.get_secret_value(), settings.twilio_auth_token.get_secret_value()
    client = build_twilio_client(sid, token, base_url=settings.twilio_base_url, timeout_seconds=_TIMEOUT_SECONDS)
    try:
        account = client.api.v2010.accounts(sid).fetch()
    except TooManyRequestsError:
        return Line("twilio", State.ok, "busy: it asks to wait")
    except TwilioRestException as error:
        todo = "set valid TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN"
        return Line("twilio", State.fail, f"refused with {error.status}, code {error.code}", todo)
    except (requests.RequestException, TwilioException, ValueError, KeyError, TypeError) as error:
        return _unreachable("twilio", error, "https://status.twilio.com")
    if account.status != "active":
        return Line("twilio", State.fail, f"the account is {account.status}", "see the Twilio console")
    if settings.alert_phones and settings.twilio_phone_number is None:
        return Line("twilio", State.fail, "no number to text from", "set TWILIO_PHONE_NUMBER")
    return Line("twilio", State.ok, "the account is active")


def sentry(settings: Settings) -> Line:
    """A DSN can be read; whether Sentry takes events shows when it is sent one."""
    if settings.sentry_dsn is None:
        return Line("sentry", State.unknown, "SENTRY_DSN is not set")
    parts = urlsplit(settings.sentry_dsn.get_secret_value())
    if parts.scheme not in ("http", "https") or not parts.username or not parts.path.strip("/").isdigit():
        return Line("sentry", State.fail, "the DSN cannot be read", "copy it anew from the project's Client Keys")
    return Line("sentry", State.ok, f"told at {parts.hostname}")


def dashboard(settings: Settings) -> Line:
    """Ask the dashboard whether it runs, as people reach it."""
    if settings.web_url is None:
        return Line("dashboard", State.unknown, "SMARTTEXT_WEB_URL is not set")
    try:
        status = requests.get(f"{settings.web_url.rstrip('/')}/healthz", timeout=_TIMEOUT_SECONDS).status_code
        said = f"answers {status} at SMARTTEXT_WEB_URL"
    except requests.RequestException as error:
        status, said = 0, f"does not answer at SMARTTEXT_WEB_URL: {type(error).__name__}"
    if status == http.HTTPStatus.OK:
        return Line("dashboard", State.ok, "answers at SMARTTEXT_WEB_URL")
    return Line("dashboard", State.fail, said, "see that `smarttext web` runs, and the proxy before it")


def receiver(settings: Settings) -> Line:
    """Call the receiver as Twilio reaches it; it refuses a GET, which nothing else before it does with 405."""
    if settings.receiver_url is None:
        return Line("receiver", State.unknown, "SMARTTEXT_RECEIVER_URL is not set")
    try:
        status = requests.get(settings.receiver_url, timeout=_TIMEOUT_SECONDS, allow_redirects=False).status_code
    except requests.RequestException as error:
        status, said = None, f"did not answer: {type(error).__name__}"
    else:
        said = f"answered {status} to a GET, not {_REFUSES_GET}"
    if status == _REFUSES_GET:
        return Line("receiver", State.ok, "answers at SMARTTEXT_RECEIVER_URL")
    return Line("receiver", State.fail, said, "see that `smarttext receiver` runs, and the proxy before it")


def spark(settings: Settings) -> Line:
    """Open a session and run a statement that reads no row."""
    if settings.spark_remote is None:
        return Line("spark", State.unknown, "SMARTTEXT_SPARK_REMOTE is not set")
    # Importing it takes a second, which only those who have a cluster pay.
    from smarttext_pipelines.engines.spark_session import SparkPlace, spark_version

    token = settings.spark_token.get_secret_value() if settings.spark_token else None
    place = SparkPlace(settings.spark_remote, token, settings.spark_rows, query_seconds=_SPARK_SECONDS)
    try:
        said = f"{place.name} answers, version {spark_version(place)}, from {settings.spark_rows:,} event rows on"
    except SmartTextError as error:
        return Line("spark", State.warn, str(error), "see docs/spark.md; what needs no cluster goes on")
    return Line("spark", State.ok, said)


def switch(settings: Settings) -> Line:
    """Whether anybody outside notices when all of this stops."""
    if settings.heartbeat_url is None:
        todo = "set SMARTTEXT_HEARTBEAT_URL to a check of a service elsewhere, due every 5 minutes"
        return Line("dead man's switch", State.unknown, "not configured: nobody notices when everything stops", todo)
    return Line("dead man's switch", State.ok, "asked after each complete cycle")


def disk(folder: Path) -> Line:
    """Judge the free space where this system writes."""
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    state = State.fail if free < DISK_FAIL_BYTES else State.warn if free < DISK_WARN_BYTES else State.ok
    todo = "" if state is State.ok else f"make room on the disk of {existing}"
    return Line("disk", state, f"{free / 1e9:,.1f} GB free", todo)


def _unreachable(name: str, error: Exception, page: str) -> Line:
    # The text of the error can quote a URL with a number in it.
    return Line(name, State.fail, f"did not answer: {type(error).__name__}", f"see the network here and {page}")
