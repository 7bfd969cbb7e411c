"""Twilio's error codes by class: who acts, whether it alerts, and the next step. The data is ``failure_classes.csv``.

Twilio keeps splitting codes, so a new one is a line of data, or of a file of the installation; others are ``unmapped``.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from smarttext_pipelines.core.errors import SettingsError

UNMAPPED = "unmapped"
OUTSIDE_THE_RATE = ("invalid_number", "opted_out")
"""Classes whose failures say nothing about sending; alert rules leave them out of the rate."""


@dataclass(frozen=True)
class FailureClass:
    """One class of failures.

    Attributes:
        name: Name of the class.
        codes: Twilio's error codes.
        reason: What happened, in a few words.
        who: Who acts: nobody, you, or the operator.
        alert: When it alerts: no, by rate, first occurrence, when first seen.
        next_step: One thing to do.
    """

    name: str
    codes: tuple[str, ...]
    reason: str
    who: str
    alert: str
    next_step: str


@cache
def failure_classes() -> dict[str, FailureClass]:
    """Return every class by its name."""
    text = files("smarttext_pipelines.core").joinpath("failure_classes.csv").read_text(encoding="utf-8")
    return {
        row["class"]: FailureClass(
            row["class"], tuple(row["codes"].split()), row["reason"], row["who"], row["alert"], row["next_step"]
        )
        for row in csv.DictReader(text.splitlines())
    }


_own_codes: dict[str, str] = {}


def class_by_code() -> dict[str, str]:
    """Return the class of every code that is listed, here or in the file of the installation."""
    return {code: each.name for each in failure_classes().values() for code in each.codes} | _own_codes


def use_codes(path: Path | None) -> None:
    """Take classes of codes from a file of the installation: one line ``code,class`` each, after a header line.

    Args:
        path: The file; None for the shipped classes alone.

    Raises:
        SettingsError: It cannot be read, or a line names no class.
    """
    _own_codes.clear()
    if path is None:
        return
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        msg = f"{path} cannot be read: {reason}; SMARTTEXT_FAILURE_CODES names a file of lines such as 63999,filtered"
        raise SettingsError(msg) from None
    known = [name for name in failure_classes() if name != UNMAPPED]
    for number, line in enumerate(lines, 1):
        code, _, name = (part.strip() for part in line.partition(","))
        if not line.strip() or line.startswith("#") or (number == 1 and code == "code"):
            continue
        if not code.isdecimal() or name not in known:
            msg = f"{path}, line {number}: write a code and one of {', '.join(known)}, such as 63999,filtered"
            raise SettingsError(msg)
        _own_codes[code] = name


def class_of(code: str | None) -> FailureClass:
    """Return the class of a code; ``unmapped`` for none and for one that is not listed."""
    return failure_classes()[class_by_code().get(code or "", UNMAPPED)]
