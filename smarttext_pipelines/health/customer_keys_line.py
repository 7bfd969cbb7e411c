"""The line on customers' keys: whether this machine makes the same as those that rolled up before."""

from sqlalchemy import Connection

from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.health.verdicts import Line, State
from smarttext_pipelines.schema.same_secret import ADVICE, DIFFERS, is_same_secret
from smarttext_pipelines.settings import Settings
from smarttext_pipelines.settings.customer_secret import known_secret

NAME = "customer keys"


def customer_keys(connection: Connection, settings: Settings) -> Line:
    """Say under which secret customers' numbers become keys; another one than before is another population."""
    try:
        secret = known_secret(settings)
    except SettingsError as error:
        return Line(NAME, State.warn, str(error), "until then no customer is rolled up here")
    is_same = None if secret is None else is_same_secret(connection, secret)
    if is_same is False:
        return Line(NAME, State.warn, f"another population: {DIFFERS}", ADVICE)
    if settings.customer_key:
        return Line(NAME, State.ok, "under SMARTTEXT_CUSTOMER_KEY")
    todo = "set SMARTTEXT_CUSTOMER_KEY to what customer.key in SMARTTEXT_DATA_DIR holds, where several machines roll up"
    return Line(NAME, State.unknown, "under a random secret of this machine's data directory", todo)
