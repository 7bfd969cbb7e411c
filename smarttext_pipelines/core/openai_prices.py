"""Upper list prices of OpenAI: the dearest price of a token of a model, from a day on. See ``openai_prices.csv``."""

import csv
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files


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
    rows = csv.DictReader(text.splitlines())
    return tuple(
        sorted(
            UpperPrice(row["model"], date.fromisoformat(row["valid_from"]), int(row["upper_nano_usd_per_token"]))
            for row in rows
        )
    )
