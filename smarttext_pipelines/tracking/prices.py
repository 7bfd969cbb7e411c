"""The list price of a call to OpenAI, from the table of ``genai-prices``, which is imported with the first question."""

from datetime import datetime
from decimal import ROUND_UP, Decimal

_MICRO_USD = Decimal("0.000001")


def list_price(model: str, input_tokens: int, output_tokens: int, at: str) -> Decimal | None:
    """Return the price in USD, rounded up to the sixth decimal, or None for a model that the table does not know.

    Args:
        model: Model as OpenAI names it.
        input_tokens: Tokens of the prompt.
        output_tokens: Tokens of the answer.
        at: Time of the call, ISO 8601; prices change.
    """
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None
    try:
        price = calc_price(
            Usage(input_tokens=input_tokens, output_tokens=output_tokens),
            model_ref=model,
            provider_id="openai",
            genai_request_timestamp=datetime.fromisoformat(at),
        )
    except (LookupError, ValueError):
        return None
    return price.total_price.quantize(_MICRO_USD, ROUND_UP)
