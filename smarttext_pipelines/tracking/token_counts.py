"""How many tokens of which kind a call used, from OpenAI's own ``usage`` object in each of its APIs."""

from collections.abc import Mapping
from typing import Any

from smarttext_pipelines.tracking import values

Counts = Mapping[str, int]
"""Tokens by kind: ``input_tokens``, ``output_tokens``, ``total_tokens`` and their parts; a missing one is unknown."""

_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")
_CACHED_DETAILS = tuple((name, "cached_tokens_details") for name in _INPUT_DETAILS)


def _within(details: tuple[Any, ...], key: str) -> tuple[tuple[str, ...], ...]:
    return tuple((*((name,) if isinstance(name, str) else name), key) for name in details)


_PATHS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "input_tokens": (("prompt_tokens",), ("input_tokens",)),
    "output_tokens": (("completion_tokens",), ("output_tokens",)),
    "total_tokens": (("total_tokens",),),
    "cached_input_tokens": _within(_INPUT_DETAILS, "cached_tokens"),
    "cache_write_tokens": _within(_INPUT_DETAILS, "cache_write_tokens"),
    "input_audio_tokens": _within(_INPUT_DETAILS, "audio_tokens"),
    "input_image_tokens": _within(_INPUT_DETAILS, "image_tokens"),
    "cached_audio_tokens": _within(_CACHED_DETAILS, "audio_tokens"),
    "cached_image_tokens": _within(_CACHED_DETAILS, "image_tokens"),
    "reasoning_tokens": _within(_OUTPUT_DETAILS, "reasoning_tokens"),
    "output_audio_tokens": _within(_OUTPUT_DETAILS, "audio_tokens"),
    "output_image_tokens": _within(_OUTPUT_DETAILS, "image_tokens"),
}

_PARTS = {
    "input_tokens": (
        ("cached_input_tokens", "cache_write_tokens"),
        ("input_audio_tokens", "input_image_tokens"),
    ),
    "output_tokens": (("reasoning_tokens",), ("output_audio_tokens", "output_image_tokens")),
    "cached_input_tokens": (("cached_audio_tokens", "cached_image_tokens"),),
}
"""Kinds that are parts of another, in groups whose sum is not above it."""


def of_usage(usage: object) -> dict[str, int]:
    """Return the counts of a ``usage`` object: a mapping, or an object of OpenAI's SDK.

    Raises:
        ValueError: It is not such an object, or a count is not a whole number.
    """
    dump = getattr(usage, "model_dump", None)
    raw = dump() if callable(dump) else usage
    if not isinstance(raw, Mapping):
        msg = "usage must be the usage object of OpenAI's answer"
        raise ValueError(msg)
    found = {name: values.count(f"usage {name}", _first(raw, paths)) for name, paths in _PATHS.items()}
    counts = {name: count for name, count in found.items() if count is not None}
    if "output_tokens" not in counts and counts.get("input_tokens") == counts.get("total_tokens", -1):
        counts["output_tokens"] = 0  # Embeddings have no output.
    return counts


def _first(raw: Mapping[str, Any], paths: tuple[tuple[str, ...], ...]) -> Any:
    for path in paths:
        found: Any = raw
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is not None:
            return found
    return None


def is_consistent(counts: Counts) -> bool:
    """Whether the total is input and output, and no part is more than what it is a part of."""
    whole = counts["input_tokens"] + counts["output_tokens"]
    return counts.get("total_tokens", whole) == whole and all(
        sum(counts.get(part, 0) for part in group) <= counts.get(name, 0)
        for name, groups in _PARTS.items()
        for group in groups
    )
