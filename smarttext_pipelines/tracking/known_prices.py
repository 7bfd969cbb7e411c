"""The list price of a call to OpenAI, from the table of ``genai-prices``; None where it does not follow from it.

Importing it takes a quarter of a second. A caller that only records a call does not wait for that: until the table is
imported, the row says that its price is wanted, and the thread that writes the row looks it up.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING, Any

from smarttext_pipelines.core.openai_prices import model_names
from smarttext_pipelines.tracking.token_counts import Counts, is_consistent

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

WANTED = "price_wanted"
"""Key of a row whose price is looked up when it is written; no column."""

_MICRO_USD = Decimal("0.000001")

NOT_ONLY_TEXT = re.compile("audio|realtime|speech|tts|transcri|whisper|image|live")
"""Names of models that hear, speak or draw."""

_GENAI_NAMES = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cached_input_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "input_audio_tokens": "input_audio_tokens",
    "input_image_tokens": "input_image_tokens",
    "output_audio_tokens": "output_audio_tokens",
    "output_image_tokens": "output_image_tokens",
    "cached_audio_tokens": "cache_audio_read_tokens",
    "cached_image_tokens": "cache_image_read_tokens",
}
"""Reasoning tokens are output and have its price, so they are not distinguished here."""

_is_loaded = False


def is_loaded() -> bool:
    """Whether a price costs microseconds."""
    return _is_loaded


def list_price(model: str, counts: Counts, at: str, service_tier: str | None = None) -> Decimal | None:
    """Return the price in USD, rounded up to the sixth decimal.

    None where the table does not know the model or the price of a kind of token, where the kinds of tokens of a model
    for speech or images are unknown, where the service tier has no price, and where the counts contradict each other.

    Args:
        model: Model as OpenAI names it, with or without a provider's prefix, a date or the name of a fine-tune.
        counts: Tokens by kind, see ``token_counts``.
        at: Time of the call, ISO 8601; prices change.
        service_tier: As OpenAI's answer says it, or ``batch``; None is the default tier.
    """
    global _is_loaded
    if not {"input_tokens", "output_tokens"} <= counts.keys() or not is_consistent(counts):
        return None
    try:
        from genai_prices import Usage
    except ImportError:
        return None
    finally:
        _is_loaded = True
    try:
        found = _find_model(model)
        price = found and _price_of_tier(found, datetime.fromisoformat(at), service_tier)
        if not price or not found or not _covers(price, found.id, counts):
            return None
        # A kind of nothing needs no price; genai-prices would ask for the counts of every overlap.
        told = {_GENAI_NAMES[name]: count for name, count in counts.items() if count and name in _GENAI_NAMES}
        total: Decimal = price.calc_price(Usage(**told))["total_price"]
    except (ArithmeticError, LookupError, ValueError):
        return None
    return total.quantize(_MICRO_USD, ROUND_UP)


def _find_model(told: str) -> "ModelInfo | None":
    from genai_prices.data_snapshot import get_snapshot

    provider = next(p for p in get_snapshot().providers if p.id == "openai")
    bare = re.sub("^(?:[^/]*/)*(?:openai:)?", "", told.lower())
    # OpenAI names the base model with its date, people do not.
    tuned = f"{model_names(told)[1]}-2024-" if bare.startswith("ft:") else bare
    return provider.find_model(bare) or provider.find_model(tuned)


def _price_of_tier(model: "ModelInfo", at: datetime, tier: str | None) -> "ModelPrice | None":
    name = (tier or "default").lower()
    context = {"processing": "batch"} if name == "batch" else {"service_tier": name}
    is_known = any(dict(variant.when) == context for variant in model.price_variants or ())
    return model.get_prices(at, context if is_known else None) if is_known or name == "default" else None


def _covers(price: "ModelPrice", name: str, counts: Counts) -> bool:
    """Whether the table has the price of each kind of token used, and the kinds are known where they matter."""
    prices: Mapping[str, Any] = {key: value for key, value in price.__dict__.items() if value is not None}
    needed = {
        "input_tokens": "input_mtok",
        "output_tokens": "output_mtok",
        "cached_input_tokens": "cache_read_mtok",
        "cache_write_tokens": "cache_write_mtok",
        "cached_audio_tokens": "cache_audio_read_mtok",
        "cached_image_tokens": "cache_image_read_mtok",
        **{kind: kind.replace("_tokens", "_mtok") for kind in _GENAI_NAMES if kind.startswith(("input_", "output_"))},
    }
    if any(counts.get(kind) and key not in prices for kind, key in needed.items()):
        return False
    return all(_kinds_are_told(side, prices, name, counts) for side in ("input", "output", "cached"))


def _kinds_are_told(side: str, prices: Mapping[str, Any], name: str, counts: Counts) -> bool:
    """Whether it is known what the tokens of a side are, of a model that has more than text."""
    whole = "cached_input_tokens" if side == "cached" else f"{side}_tokens"
    kinds = ("audio", "image")
    mediums = [kind for kind in kinds if any(kind in key for key in prices)]
    has_own_price = any(f"{side}_{kind}_mtok" in prices for kind in kinds)
    is_mixed = has_own_price or (NOT_ONLY_TEXT.search(name) and (side == "cached" or not mediums))
    return not (counts.get(whole) and is_mixed) or any(f"{side}_{kind}_tokens" in counts for kind in kinds)


def complete(rows: Sequence[str]) -> list[str]:
    """Return rows of usage with the prices that were wanted."""
    return [_complete(row) if WANTED in row else row for row in rows]


def _complete(text: str) -> str:
    row: dict[str, Any] = json.loads(text)
    wanted = row.pop(WANTED, None)
    if wanted is None:
        return text
    try:
        if isinstance(wanted, list):  # As written by a version that knew input and output only.
            wanted = {"counts": dict(zip(("input_tokens", "output_tokens"), wanted, strict=True))}
        price = list_price(row["model"], at=row["created_at"], **wanted)
    except Exception:  # noqa: BLE001 - a price that cannot be found is none; the row is written all the same
        price = None
    return json.dumps({**row, "cost_estimate": None if price is None else str(price)})
