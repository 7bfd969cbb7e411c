"""What a person does in the dashboard: the same functions as the command line, with the person's name in the record."""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, Engine

from smarttext_pipelines.alerting.incidents import review
from smarttext_pipelines.anomalies import episodes
from smarttext_pipelines.budgets import ledger
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.database.connect import connected

Words = Mapping[str, str]
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_MAX_REASON = 200


def act(route: str, engine: Engine, path: Words, form: Words, person: str) -> str:
    """Do what a form asks for, in one transaction; return where to go then.

    Raises:
        InputError: The form asks for what cannot be done; nothing was.
        DatabaseError: The database cannot be used.
    """
    with connected(engine) as connection, connection.begin():
        return ACTIONS[route](connection, path, form, person)


def _acknowledge(connection: Connection, path: Words, _form: Words, person: str) -> str:
    number = _number(path["number"])
    review.acknowledge(connection, number, person)
    return f"/incidents/{number}"


def _silence(connection: Connection, path: Words, form: Words, person: str) -> str:
    number = _number(path["number"])
    found = review.find_incident(connection, number)
    review.silence(
        connection, rule=found["rule"], scope=found["scope"], author=person, reason=_reason(form),
        length=_length(form.get("for", "")),
    )  # fmt: skip
    return f"/incidents/{number}"


def _end_silence(connection: Connection, path: Words, _form: Words, _person: str) -> str:
    review.end_silence(connection, _number(path["number"]))
    return "/incidents"


def _grant(connection: Connection, path: Words, form: Words, person: str) -> str:
    try:
        business = UUID(path["business"])
    except ValueError:
        msg = "that is no id of a business"
        raise InputError(msg) from None
    tokens = _number(form.get("tokens", ""))
    if not 0 < tokens <= 10**9:
        msg = "give between 1 and 1,000,000,000 tokens"
        raise InputError(msg)
    # The id is the form's, so that a form that is sent twice grants once.
    ledger.grant(
        connection, business, tokens, Decimal(0), grant_id=_given(form, "id"), author=person, reason=_reason(form)
    )
    return f"/businesses/{business}"


def _verdict(connection: Connection, path: Words, form: Words, person: str) -> str:
    number = _number(path["number"])
    episodes.say_verdict(connection, number, _given(form, "verdict"), person)
    return f"/anomalies/{number}"


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        msg = f"'{text[:40]}' is no number"
        raise InputError(msg)
    return int(text)


def _reason(form: Words) -> str:
    return _given(form, "reason")[:_MAX_REASON]


def _given(form: Words, name: str) -> str:
    text = form.get(name, "").strip()
    if not text:
        msg = f"fill in the {name}"
        raise InputError(msg)
    return text


def _length(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,3})([mhd])", text)
    if not found or not int(found[1]):
        msg = f"'{text[:40]}' is no length of time; write 30m, 2h or 2d"
        raise InputError(msg)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


ACTIONS: Mapping[str, Callable[[Connection, Words, Words, str], str]] = {
    "/incidents/{number}/acknowledge": _acknowledge,
    "/incidents/{number}/silence": _silence,
    "/silences/{number}/end": _end_silence,
    "/budgets/{business}/grant": _grant,
    "/anomalies/{number}/verdict": _verdict,
}
"""What can be done, by its address."""
