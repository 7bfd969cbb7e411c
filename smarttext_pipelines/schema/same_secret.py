"""Whether the secret of this process is the one that the database's customers have their keys under."""

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from smarttext_pipelines.core.customer_keys import fingerprint
from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.schema.tables.internal import customer_secrets

DIFFERS = "the secret of the customers' keys is another here than the one that the keys of this database are made under"
ADVICE = (
    "set SMARTTEXT_CUSTOMER_KEY to that one, which is in customer.key of SMARTTEXT_DATA_DIR where customers were rolled"
    " up first; or begin anew under this one with `smarttext customers new-key --yes`"
)


def is_same_secret(connection: Connection, secret: bytes) -> bool | None:
    """Return whether the keys are made under this secret; None where there are none yet."""
    stored = connection.scalar(select(customer_secrets.c.fingerprint))
    return None if stored is None else stored == fingerprint(secret)


def require_same_secret(connection: Connection, secret: bytes) -> None:
    """Raise SettingsError if the keys are made under another secret."""
    if is_same_secret(connection, secret) is False:
        msg = f"{DIFFERS}; {ADVICE}"
        raise SettingsError(msg)


def use_secret(connection: Connection, secret: bytes, *, anew: bool = False) -> None:
    """Let this be the secret of the keys, in the caller's transaction.

    Args:
        connection: In a transaction.
        secret: The secret.
        anew: Whether it may take another one's place; keys of before stay until their days are rolled up again.

    Raises:
        SettingsError: The keys are made under another one.
    """
    statement = insert(customer_secrets).values(fingerprint=fingerprint(secret))
    changed = {"fingerprint": statement.excluded.fingerprint, "used_since": func.now()}
    key = [customer_secrets.c.is_only_row]
    connection.execute(
        statement.on_conflict_do_update(index_elements=key, set_=changed)
        if anew
        else statement.on_conflict_do_nothing(index_elements=key)
    )
    require_same_secret(connection, secret)
