"""A price follows from what OpenAI said of a call, or there is none; upper prices are those of genai-prices."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from smarttext_pipelines import tracking
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.openai_prices import model_names, upper_prices
from smarttext_pipelines.engines import ArchiveEngine, Parameters
from smarttext_pipelines.metrics import METRICS, Window
from smarttext_pipelines.sample import sample_usage
from smarttext_pipelines.tracking.known_prices import complete, list_price
from smarttext_pipelines.tracking.token_counts import is_consistent, of_usage
from smarttext_pipelines_tests import prices
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.guardrail import add_businesses

AT = "2026-11-02T12:00:00+00:00"
CHAT: dict[str, Any] = {
    "prompt_tokens": 1_000,
    "completion_tokens": 500,
    "total_tokens": 1_500,
    "prompt_tokens_details": {"cached_tokens": 400, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 300, "audio_tokens": 0, "accepted_prediction_tokens": 0},
}
RESPONSES: dict[str, Any] = {
    "input_tokens": 1_000,
    "input_tokens_details": {"cached_tokens": 400},
    "output_tokens": 500,
    "output_tokens_details": {"reasoning_tokens": 300},
    "total_tokens": 1_500,
}
REALTIME: dict[str, Any] = {
    "total_tokens": 1_500,
    "input_tokens": 1_000,
    "output_tokens": 500,
    "input_token_details": {"text_tokens": 400, "audio_tokens": 600, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 100, "audio_tokens": 400},
}


def price(model: str, usage: dict[str, Any], tier: str | None = None) -> str | None:
    """Return what a call costs in USD, as text."""
    found = list_price(model, of_usage(usage), AT, tier)
    return None if found is None else str(found)


@pytest.mark.parametrize("usage", [CHAT, RESPONSES], ids=["chat", "responses"])
def test_cached_input_and_reasoning_have_their_own_prices(usage: dict[str, Any]) -> None:
    # 600 at 1.25, 400 at 0.125 and 500, of which 300 are reasoning, at 10 USD a million.
    assert price("gpt-5", usage) == "0.005800"
    assert price("gpt-4o", {**usage, "total_tokens": None}) == "0.007000"


@pytest.mark.parametrize(
    ("tier", "usd"),
    [
        (None, "0.005800"),
        ("default", "0.005800"),
        ("priority", "0.011600"),
        ("flex", "0.002900"),
        ("batch", "0.002900"),
        ("auto", None),
        ("scale", None),
    ],
)
def test_a_tier_costs_what_it_costs_or_nothing_is_said(tier: str | None, usd: str | None) -> None:
    assert price("gpt-5", CHAT, tier) == usd
    assert price("gpt-4-turbo", {"prompt_tokens": 10, "completion_tokens": 1}, "priority") is None


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("openai/gpt-4o", "gpt-4o"),
        ("openrouter/openai/GPT-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("openai/gpt-4o-20240806", "gpt-4o"),
        ("openai:gpt-4o", "gpt-4o"),
        ("ft:gpt-4o-mini:smarttext", "ft:gpt-4o-mini-2024-07-18:org::id"),
        ("openai/ft:gpt-4o-2024-08-06:org:name:id", "ft:gpt-4o-2024-08-06:org"),
    ],
)
def test_a_name_with_a_prefix_a_date_or_a_fine_tune_is_the_model_it_is(told: str, meant: str) -> None:
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 1_000_000}
    assert price(told, usage) == price(meant, usage) is not None


def test_a_fine_tune_costs_more_than_what_was_tuned() -> None:
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
    assert (price("ft:gpt-4o-mini:x", usage), price("gpt-4o-mini", usage)) == ("0.300000", "0.150000")
    assert price("ft:gpt-4.1:x", usage) is None


def test_speech_has_a_price_only_where_its_tokens_are_told() -> None:
    plain = {"input_tokens": 1_000, "output_tokens": 500}
    # 400 text at 4, 600 audio at 32; 100 text at 16, 400 audio at 64 USD a million.
    assert price("gpt-realtime", REALTIME) == "0.048000"
    for model in ("gpt-realtime", "gpt-audio", "gpt-4o-audio-preview", "gpt-4o-mini-tts", "tts-1", "whisper-1"):
        assert price(model, plain) is None, model
    for model in ("gpt-image-1", "gpt-4o-transcribe", "gpt-5-image"):
        assert price(model, plain) is None, model
    assert price("gpt-4o-audio-preview", REALTIME) is None, "nobody knows what its audio costs"
    assert price("gpt-4o", REALTIME) is None, "it has no audio"
    heard = {"input_tokens": 592, "input_token_details": {"audio_tokens": 592, "text_tokens": 0}, "output_tokens": 0}
    assert price("gpt-4o-transcribe", heard) == "0.003552"


def test_images_have_a_price_only_where_their_tokens_are_told() -> None:
    drawn = {
        "input_tokens": 1_000, "input_tokens_details": {"text_tokens": 400, "image_tokens": 600},
        "output_tokens": 500, "output_tokens_details": {"text_tokens": 0, "image_tokens": 500},
    }  # fmt: skip
    # 400 text at 5, 600 image at 8; 500 image at 32 USD a million.
    assert price("gpt-image-1.5", drawn) == "0.022800"
    assert price("gpt-image-1.5", {**drawn, "output_tokens_details": None}) is None
    assert price("gpt-image-1.5", {**drawn, "input_tokens_details": None}) is None
    assert price("gpt-4o", drawn) is None, "it draws nothing"


@pytest.mark.parametrize(
    "wrong",
    [
        {"total_tokens": 1_501},
        {"total_tokens": 1_499},
        {"prompt_tokens_details": {"cached_tokens": 1_001}},
        {"prompt_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 600}},
        {"completion_tokens_details": {"reasoning_tokens": 501}},
        {"completion_tokens_details": {"audio_tokens": 501}},
    ],
    ids=str,
)
def test_counts_that_contradict_each_other_have_no_price(wrong: dict[str, Any]) -> None:
    assert not is_consistent(of_usage({**CHAT, **wrong}))
    assert price("gpt-5", {**CHAT, **wrong}) is None


def test_writing_the_cache_costs_more_than_input_or_is_not_known() -> None:
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "prompt_tokens_details": {"cache_write_tokens": 1_000}}
    assert price("gpt-4o", usage) is None
    written = price("gpt-5.6-luna", usage)
    assert written is not None
    assert Decimal(written) > Decimal(price("gpt-5.6-luna", {**usage, "prompt_tokens_details": {}}) or 0)


def test_embeddings_have_no_output() -> None:
    assert price("text-embedding-3-small", {"prompt_tokens": 1_000_000, "total_tokens": 1_000_000}) == "0.020000"


@pytest.mark.parametrize("usage", ["7", 7, {"prompt_tokens": -1}, {"prompt_tokens": "many"}], ids=repr)
def test_what_is_no_usage_is_refused_in_synchronous_use(usage: object, tmp_path: Path) -> None:
    tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=tmp_path, synchronous=True)
    with pytest.raises(ValueError, match="usage"):
        tracking.track_openai_usage(endpoint="chat", usage=usage)


def test_a_row_of_an_older_version_that_wants_a_price_gets_it() -> None:
    row = '{"model": "gpt-4o", "created_at": "2026-11-02T12:00:00+00:00", "price_wanted": [1000, 500]}'
    assert '"cost_estimate": "0.007500"' in complete([row])[0]


class Usage:
    """What OpenAI's SDK gives."""

    def model_dump(self) -> dict[str, Any]:
        """Return it as a mapping."""
        return CHAT


def test_the_usage_object_is_booked_with_its_price_and_its_kinds(database: Database, tmp_path: Path) -> None:
    tracking.configure(database_url=database.url, spill_folder=tmp_path, decide_within_s=10)
    business = add_businesses(database, 1)[0]
    tracking.track_openai_usage(endpoint="chat", usage=Usage(), model="gpt-5", business_id=business)
    reservation = tracking.reserve_openai_usage(business, 2_000, "one", model="gpt-5")
    assert reservation.settle(usage=Usage(), service_tier="priority")
    assert tracking.flush(10)
    rows = database.rows("SELECT tokens_used, cost_estimate, metadata FROM public.api_usage ORDER BY cost_estimate")
    assert [(row["tokens_used"], row["cost_estimate"]) for row in rows] == [
        (1_500, Decimal("0.0058")),
        (1_500, Decimal("0.0116")),
    ]
    assert rows[0]["metadata"]["reasoning_tokens"] == 300
    assert rows[0]["metadata"]["cached_input_tokens"] == 400


def test_the_table_of_upper_prices_is_what_genai_prices_says() -> None:
    assert [line for line in prices.TABLE.read_text().splitlines() if not line.startswith("#")] == prices.table()


def test_the_table_covers_every_model_of_the_sample_and_is_an_upper_bound() -> None:
    known = {upper.model: upper.nano_usd_per_token for upper in upper_prices()}
    for model in sample_usage._MODELS:
        upper = next(known[name] for name in model_names(model) if name in known)
        for usage in (
            {"prompt_tokens": 10**6, "completion_tokens": 0},
            {"prompt_tokens": 0, "completion_tokens": 10**6},
        ):
            assert Decimal(price(model, usage) or 0) <= upper * Decimal("0.001")


NAMES = (
    "openai/GPT-4o-2024-05-13",
    "gpt-4o-20240806",
    "ft:gpt-4o-mini-2024-07-18:o::i",
    "x/y/ft:gpt-4o:a\nb",
    "a\n",
    "",
)


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_every_engine_knows_a_model_by_the_same_name(database: Database, name: str) -> None:
    row = database.rows(
        "SELECT monitoring.priced_model(%s) AS n, monitoring.upper_usd(%s, 1e9, %s) AS usd",
        name,
        name,
        date(2026, 11, 2),
    )[0]
    assert row["n"] == model_names(name)[0]
    known = {upper.model: upper.nano_usd_per_token for upper in upper_prices()}
    expected = next((known[each] for each in model_names(name) if each in known), None)
    assert row["usd"] == (expected or known["*"])
    usage = {"service": "openai", "endpoint": "chat", "tokens_used": 1_000_000, "model": name}
    day = date(2026, 11, 2)
    window = Window(DayRange(day, day), ZoneInfo("UTC"), 4, datetime(2026, 11, 9, tzinfo=UTC))
    columns = {
        **usage,
        "id": "1",
        "business_id": None,
        "cost_estimate": None,
        "reset_date": day,
        "request_id": None,
        "created_at": datetime(2026, 11, 2, tzinfo=UTC),
    }
    kinds = {"business_id": pa.string(), "cost_estimate": pa.decimal128(38, 6), "request_id": pa.string()}
    rows = pa.table({key: pa.array([value], kinds.get(key)) for key, value in columns.items()})
    with ArchiveEngine(None, Parameters(window), {"api_usage": rows}) as engine:
        found = engine.fetch(METRICS["spend"].rows(engine.tables, window))[0]["unpriced_cost_upper_usd"]
    assert found == (None if expected is None else Decimal(expected) / 1000)
