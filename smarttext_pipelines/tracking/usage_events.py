"""``track_openai_usage``: what a call to OpenAI used, and the row that is written for it."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from smarttext_pipelines.tracking import known_prices, token_counts, values
from smarttext_pipelines.tracking.cleaning import WORD_LIMIT
from smarttext_pipelines.tracking.fields import Fields
from smarttext_pipelines.tracking.track import tell

_COUNTS = ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens")


def track_openai_usage(
    *,
    endpoint: str,
    tokens_used: int | None = None,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    business_id: UUID | str | None = None,
    cost_estimate: Decimal | float | None = None,
    model: str | None = None,
    request_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    occurred_at: datetime | None = None,
    usage: object = None,
    cached_input_tokens: int | None = None,
    cache_write_tokens: int | None = None,
    reasoning_tokens: int | None = None,
    service_tier: str | None = None,
) -> UUID | None:
    """Record what a call to OpenAI used. A reserved ``request_id`` must be settled instead: here it writes nothing.

    Args:
        endpoint: What was called, such as ``chat``.
        tokens_used: All tokens; by default the sum of input and output.
        input_tokens: Tokens of the prompt.
        output_tokens: Tokens of the answer.
        business_id: Business; None where it is not known.
        cost_estimate: Cost in USD; by default the list price of the day, or none where that does not follow.
        model: Model as OpenAI names it.
        request_id: Request that made the call.
        metadata: Anything else, as JSON.
        occurred_at: Aware time of the call; now by default.
        usage: The ``usage`` object of OpenAI's answer as it is; a count passed explicitly takes precedence.
        cached_input_tokens: Tokens of the prompt read from the cache.
        cache_write_tokens: Tokens of the prompt written into the cache.
        reasoning_tokens: Tokens of the answer that nobody sees; they cost what the answer costs.
        service_tier: ``service_tier`` of OpenAI's answer, or ``batch``; without it the default tier is priced.
    """
    given = (input_tokens, output_tokens, cached_input_tokens, cache_write_tokens, reasoning_tokens)
    told = dict(zip(_COUNTS, given, strict=True))

    def row(fields: Fields) -> dict[str, Any]:
        counts, at = _token_counts(fields, usage, tokens_used, told), values.instant("occurred_at", occurred_at)
        name, tier = (fields.side(n, v, size=WORD_LIMIT) for n, v in (("model", model), ("service_tier", service_tier)))
        return {
            "endpoint": fields.word("endpoint", endpoint),
            "business_id": values.uuid("business_id", business_id),
            "tokens_used": total_tokens(counts),
            **_cost(values.usd("cost_estimate", cost_estimate), name, counts, at, tier),
            "model": name,
            "created_at": at,
            "request_id": fields.key("request_id", request_id),
            "metadata": {**_as_told(counts, tier), **fields.payload("metadata", metadata)},
        }

    return tell("api_usage", row)


def _cost(told: Decimal | None, model: str | None, counts: dict[str, int], at: str, tier: str | None) -> dict[str, Any]:
    """Return the cost, or what it is looked up by when the row is written."""
    is_wanted = told is None and bool(model) and {"input_tokens", "output_tokens"} <= counts.keys()
    if is_wanted and known_prices.is_loaded():
        told, is_wanted = known_prices.list_price(model or "", counts, at, tier), False
    cost = {"cost_estimate": None if told is None else str(told)}
    return {**cost, **({known_prices.WANTED: {"counts": counts, "service_tier": tier}} if is_wanted else {})}


def _as_told(counts: dict[str, int], tier: str | None) -> dict[str, Any]:
    kinds: dict[str, Any] = {name: count for name, count in counts.items() if name != "total_tokens"}
    return kinds | ({"service_tier": tier} if tier else {})


def _token_counts(
    fields: Fields, usage: object, all_tokens: int | None, told: Mapping[str, int | None]
) -> dict[str, int]:
    """Return the counts by kind; where the total is given, a part that is not a number is left out."""
    counts = {} if usage is None else token_counts.of_usage(usage)
    total = values.count("tokens_used", all_tokens)
    count = values.count if total is None and usage is None else fields.number
    parts = {"total_tokens": total} | {name: count(name, part) for name, part in told.items()}
    return counts | {name: part for name, part in parts.items() if part is not None}


def total_tokens(counts: Mapping[str, int]) -> int:
    """Return the tokens that are booked: the total if given, else input and output."""
    whole = counts.get("input_tokens", 0) + counts.get("output_tokens", 0)
    return values.count("input_tokens and output_tokens", counts.get("total_tokens", whole)) or 0
