"""Upper list prices of OpenAI: the dearest price of a token of a model, from a day on, and which model a name means.

``openai_prices.csv`` is written by ``make prices`` from genai-prices.
"""

import csv
import re
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files

ANY_MODEL = "*"
"""Row of the table whose price counts for a model that is in no other row."""

# The same expressions are written in SQL (``monitoring.priced_model``) and in Ibis (``metrics.spend``).
PREFIX = "^([^/]*/)*(openai:)?"
FINE_TUNE = r"^(ft:[^:]+):(.|\n)*$"
VERSION = "-20[0-9]{2}-?[0-9]{2}-?[0-9]{2}$"


@dataclass(frozen=True, order=True)
class UpperPrice:
    """The dearest price of a token of a model from a day on, in nano-USD."""

    model: str
    valid_from: date
    nano_usd_per_token: int


@cache
def upper_prices() -> tuple[UpperPrice, ...]:
    """Return every price, by model and day."""
    text = files("smarttext_pipelines.core").joinpath("openai_prices.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return tuple(
        sorted(
            UpperPrice(row["model"], date.fromisoformat(row["valid_from"]), int(row["upper_nano_usd_per_token"]))
            for row in rows
        )
    )


def model_names(told: str) -> tuple[str, str]:
    """Return the names under which a model has a price: with the date of its version, and without.

    A prefix of a provider (``openai/``) is left out, and of a fine-tune stays what was tuned (``ft:gpt-4o-mini``).
    """
    name = re.sub(PREFIX, "", told.lower(), count=1)
    name = re.sub(FINE_TUNE[:-1] + r"\Z", r"\1", name)
    return name, re.sub(VERSION[:-1] + r"\Z", "", name)
