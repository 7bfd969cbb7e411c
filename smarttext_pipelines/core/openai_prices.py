"""OpenAI's highest list price per token of each model, from a day on, and which model a name refers to.

``openai_prices.csv`` is written by ``make prices`` from genai-prices.
"""

import csv
import re
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files

ANY_MODEL = "*"
"""Row whose price applies to a model that has no row of its own."""

LARGEST_COST = 10**13
"""More than any request costs; a recorded cost beyond it or its negative, and NaN, are ignored."""

# The same expressions are written in SQL (``monitoring.priced_model``) and in Ibis (``metrics.spend``).
PREFIX = "^([^/]*/)*(openai:)?"
FINE_TUNE = r"^(ft:[^:]+):(.|\n)*$"
VERSION = "-20[0-9]{2}-?[0-9]{2}-?[0-9]{2}$"


@dataclass(frozen=True, order=True)
class UpperPrice:
    """The highest price per token of a model from a day on, in nano-USD."""

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

    The provider's prefix (``openai/``) is left out; a fine-tune keeps its base model (``ft:gpt-4o-mini``).
    """
    name = re.sub(PREFIX, "", told.lower(), count=1)
    name = re.sub(FINE_TUNE[:-1] + r"\Z", r"\1", name)
    return name, re.sub(VERSION[:-1] + r"\Z", "", name)
