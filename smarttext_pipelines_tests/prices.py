"""Writes the table of upper list prices from genai-prices: ``make prices``."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import ROUND_UP, Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, StartDateConstraint, TieredPrices

from smarttext_pipelines import core
from smarttext_pipelines.core.openai_prices import ANY_MODEL, model_names
from smarttext_pipelines.tracking.known_prices import NOT_ONLY_TEXT

TABLE = Path(core.__file__).with_name("openai_prices.csv")
FIRST_DAY = date(2020, 1, 1)
"""Day of a price whose first day is not known."""

UNKNOWN_AS = "gpt-4"
"""What a model costs that is in no row. Few models are dearer, by ten times: who calls them names them."""


def table() -> list[str]:
    """Return the lines of the table, without the one that dates it."""
    provider = next(p for p in get_snapshot().providers if p.id == "openai")
    found: dict[str, dict[date, int]] = {}
    for model in provider.models:
        prices = {} if _lacks_prices(model) else dict(_dated_prices(model))
        for name in {model.id.rstrip("-"), *_names(model.match)} if prices else ():
            found.setdefault(name, prices)
    found[ANY_MODEL] = found[UNKNOWN_AS]
    kept = {name: prices for name, prices in found.items() if not _follows(name, found)}
    rows = [f"{name},{day},{price}" for name in sorted(kept) for day, price in sorted(kept[name].items())]
    return ["model,valid_from,upper_nano_usd_per_token", *rows]


def _follows(name: str, found: dict[str, dict[date, int]]) -> bool:
    """Whether the price of a version is that of its model, or nobody could look up such a name."""
    version_name, model = model_names(name)
    return version_name != name or (model != name and found.get(model) == found[name])


def _lacks_prices(model: ModelInfo) -> bool:
    """Whether a model hears, speaks or draws, and genai-prices knows what its text costs and nothing else."""
    known = [each.prices for each in model.prices] if isinstance(model.prices, list) else [model.prices]
    names = {name for price in known for name, amount in price.__dict__.items() if amount is not None}
    return bool(NOT_ONLY_TEXT.search(model.id)) and not any("audio" in name or "image" in name for name in names)


def _dated_prices(model: ModelInfo) -> Iterator[tuple[date, int]]:
    conditional = model.prices if isinstance(model.prices, list) else []
    if not conditional and (upper := _upper(model.prices)):
        yield FIRST_DAY, upper
    for each in conditional:
        start = each.constraint.start_date if isinstance(each.constraint, StartDateConstraint) else FIRST_DAY
        if upper := _upper(each.prices):
            yield start, upper


def _upper(price: Any) -> int | None:
    """Return the dearest price of a token of any kind in nano-USD, of the default tier; None without tokens."""
    if not isinstance(price, ModelPrice):
        return None
    amounts = [amount for name, told in price.__dict__.items() if name.endswith("_mtok") for amount in _amounts(told)]
    return int((max(amounts) * 1000).to_integral_value(ROUND_UP)) if amounts else None


def _amounts(told: Decimal | TieredPrices | None) -> list[Decimal]:
    if told is None:
        return []
    return [told.base, *(tier.price for tier in told.tiers)] if isinstance(told, TieredPrices) else [told]


def _names(clause: Any) -> Iterator[str]:
    if hasattr(clause, "equals"):
        yield clause.equals
    for part in getattr(clause, "or_", ()):
        yield from _names(part)


if __name__ == "__main__":
    today = datetime.now(UTC).date()
    dated = f"# Written by `make prices` on {today} from genai-prices {version('genai-prices')}; USD, default tier."
    TABLE.write_text("\n".join([dated, *table()]) + "\n")
