"""Twilio's error codes by class: who acts, whether it alerts, and the next step. The data is ``failure_classes.csv``.

Twilio keeps splitting codes, so a new one is a line of data; whatever is not listed is ``unmapped``.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

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


@cache
def class_by_code() -> dict[str, str]:
    """Return the class of every listed code."""
    return {code: each.name for each in failure_classes().values() for code in each.codes}


def class_of(code: str | None) -> FailureClass:
    """Return the class of a code; ``unmapped`` for none and for one that is not listed."""
    return failure_classes()[class_by_code().get(code or "", UNMAPPED)]
