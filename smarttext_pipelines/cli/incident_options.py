"""Arguments of the commands about incidents: which incident, who acts, and for how long."""

import getpass
from datetime import timedelta
from typing import Annotated

import typer

from smarttext_pipelines.alerting.rules.rule import parse_duration
from smarttext_pipelines.cli.options import is_number, require_text
from smarttext_pipelines.core.errors import InputError

Number = Annotated[str, typer.Argument(metavar="INCIDENT", help="Number of the incident, such as 214 or INC-214.")]
ByOption = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who acts; the user of this machine by default.")
]


def incident_number(text: str) -> int:
    """Return the number of an incident; raise InputError for anything else."""
    digits = text.upper().removeprefix("INC-")
    if not is_number(digits):
        msg = f"'{text}' is no incident; write its number, such as 214"
        raise InputError(msg)
    return int(digits)


def person(by: str | None) -> str:
    """Return who acts: the given name, else the user of this machine.

    Raises:
        InputError: The name is empty, or nobody can be named.
    """
    require_text(("--by", by))
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        msg = "this user has no name; say who acts with --by NAME"
        raise InputError(msg) from None


def parse_length(option: str, text: str, example: str) -> timedelta:
    """Return the length of time that an option names; raise InputError for anything else."""
    try:
        length = parse_duration(text)
    except ValueError as error:
        msg = f"{option} '{text}': {error}"
        raise InputError(msg) from None
    if not isinstance(length, timedelta) or not length:
        msg = f"{option} '{text}' is no duration; write it as {example}"
        raise InputError(msg)
    return length
