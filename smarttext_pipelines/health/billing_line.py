"""The line on OpenAI's costs: whether the admin key reads them. The question costs nothing."""

import time
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from smarttext_pipelines.health.verdicts import Line, State
from smarttext_pipelines.settings import Settings

NAME = "openai"
OLDEST_SECONDS = 3600.0
"""How old an answer may be for those that ask every minute: OpenAI's limits for admin keys are low."""

_TIMEOUT_SECONDS = 5.0
_answers: dict[tuple[str, str], tuple[float, Line]] = {}


def openai(settings: Settings, *, anew: bool) -> Line:
    """Judge the admin key; the pipeline works without OpenAI's costs, so nothing here is a failure of it.

    Args:
        settings: Key and address.
        anew: Whether an answer of the last hour does not do.
    """
    if settings.openai_admin_key is None:
        return Line(NAME, State.unknown, "OPENAI_ADMIN_KEY is not set: what OpenAI charges is not asked for")
    place = settings.openai_admin_key.get_secret_value(), settings.openai_base_url
    at, line = _answers.get(place, (0.0, None))
    if line is None or anew or time.monotonic() - at > OLDEST_SECONDS:
        line = _asked(*place)
        _answers[place] = (time.monotonic(), line)
    return line


def _asked(key: str, base_url: str) -> Line:
    import requests

    from smarttext_pipelines.billing.costs_client import CostsClient, todo_of

    client = CostsClient(key, base_url=base_url, timeout_seconds=_TIMEOUT_SECONDS)
    try:
        status = client.probe((datetime.now(UTC) - timedelta(days=1)).date())
    except (requests.RequestException, ValueError) as error:
        # The text of the error can quote an address.
        said = f"did not answer: {type(error).__name__}"
        return Line(NAME, State.warn, said, "see the network here and https://status.openai.com")
    if status == HTTPStatus.OK:
        return Line(NAME, State.ok, "the admin key reads costs")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Line(NAME, State.ok, "busy: it asks to wait")
    return Line(NAME, State.warn, f"refused with {status}", todo_of(status))
