"""The list price of a call to OpenAI, from the table of ``genai-prices``.

Importing it takes a quarter of a second. A caller who only tells of a call is not held up by that: until somebody has
imported it, the row says that its price is wanted, and who writes the row looks it up.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_UP, Decimal
from typing import Any

WANTED = "price_wanted"
"""Key of a row whose price is looked up when it is written; no column."""

_MICRO_USD = Decimal("0.000001")


_is_loaded = False


def is_loaded() -> bool:
    """Whether a price costs microseconds."""
    return _is_loaded


def list_price(model: str, input_tokens: int, output_tokens: int, at: str) -> Decimal | None:
    """Return the price in USD, rounded up to the sixth decimal, or None for a model that the table does not know.

    Args:
        model: Model as OpenAI names it.
        input_tokens: Tokens of the prompt.
        output_tokens: Tokens of the answer.
        at: Time of the call, ISO 8601; prices change.
    """
    global _is_loaded
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None
    finally:
        _is_loaded = True
    try:
        price = calc_price(
            Usage(input_tokens=input_tokens, output_tokens=output_tokens),
            model_ref=model,
            provider_id="openai",
            genai_request_timestamp=datetime.fromisoformat(at),
        )
    except (ArithmeticError, LookupError, ValueError):
        return None
    return price.total_price.quantize(_MICRO_USD, ROUND_UP)


def complete(rows: Sequence[str]) -> list[str]:
    """Return rows of usage with the prices that they want."""
    return [_complete(row) if WANTED in row else row for row in rows]


def _complete(text: str) -> str:
    row: dict[str, Any] = json.loads(text)
    wanted = row.pop(WANTED, None)
    if wanted is None:
        return text
    try:
        price = list_price(row["model"], wanted[0], wanted[1], row["created_at"])
    except Exception:  # noqa: BLE001 - a price that cannot be found is none; the row is written all the same
        price = None
    return json.dumps({**row, "cost_estimate": None if price is None else str(price)})
