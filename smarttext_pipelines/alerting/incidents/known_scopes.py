"""Scopes as people write them, such as a business by its name or a sender by its number, as incidents have them."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.alerting.channels import CHANNELS
from smarttext_pipelines.alerting.rules.span import with_scopes
from smarttext_pipelines.core.display import shown
from smarttext_pipelines.core.errors import InputError

_ALWAYS = ("platform", "group", "business:none", *(f"channel:{name}" for name in CHANNELS))
_NAMED = ("run", "check", "heartbeat", "rules")
"""What stands before the colon in scopes of the pipeline, which are known once something has been reported of them."""

_BUSINESSES = text("SELECT id FROM monitoring.businesses WHERE id::text = lower(:name) OR lower(name) = lower(:name)")
_SENDERS = text(
    with_scopes(
        """
        SELECT sender_scope(s.number) FROM (
            SELECT twilio_phone AS number FROM monitoring.businesses UNION SELECT unnest(CAST(:shared AS text[]))
        ) AS s WHERE s.number = :number
        """
    )
)
_IS_KNOWN = text(
    """
    SELECT EXISTS (SELECT FROM monitoring.incidents WHERE scope = :scope)
        OR EXISTS (SELECT FROM monitoring.alert_signals WHERE scope = :scope)
    """
)


def known_scope(connection: Connection, scope: str, shared_senders: Sequence[str]) -> str:
    """Return a scope as incidents have it.

    Args:
        connection: In a transaction.
        scope: As ``alerts show`` has it, or with the name of a business, or with the number of a sender.
        shared_senders: Numbers that send for several businesses.

    Raises:
        InputError: No incident can have it.
    """
    kind, _, name = scope.partition(":")
    if scope in _ALWAYS:
        return scope
    if kind == "business":
        return f"business:{_business(connection, name)}"
    if kind == "sender":
        values = {"number": name, "shared": list(shared_senders)}
        if found := connection.execute(_SENDERS, values).scalar():
            return str(found)
    elif kind not in _NAMED:
        kinds = ", ".join([*_ALWAYS, "business:<id or name>", "sender:<number>", *(f"{each}:…" for each in _NAMED)])
        msg = f"'{shown(scope)}' is no scope; write one of {kinds}"
        raise InputError(msg)
    if connection.execute(_IS_KNOWN, {"scope": scope}).scalar():
        return scope
    what = "no business sends from that number, and no incident has" if kind == "sender" else "no incident has"
    msg = f"{what} the scope '{shown(scope)}'; `smarttext alerts list --all` shows incidents, `alerts show` their scope"
    raise InputError(msg)


def _business(connection: Connection, name: str) -> UUID:
    """Return the business of an id or a name."""
    found = connection.execute(_BUSINESSES, {"name": name}).scalars().all()
    if len(found) == 1:
        return UUID(str(found[0]))
    msg = f"'{name}' is {'the name of several businesses' if found else 'no id or name of a business'}"
    msg += "; write business:<id>, see `smarttext alerts list`"
    raise InputError(msg)
