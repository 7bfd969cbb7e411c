"""The parameter tables of statements as Arrow, which an answer from few rows needs none of, and does not import."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from smarttext_pipelines.core.customer_keys import padded_blocks
from smarttext_pipelines.core.days import day_end, day_start, is_final
from smarttext_pipelines.core.openai_prices import upper_prices
from smarttext_pipelines.engines.small_table import small_table
from smarttext_pipelines.metrics.customer_days import KEY_BLOCKS
from smarttext_pipelines.metrics.metric import Window

OPEN_END = date(9999, 12, 31)


_INSTANT = pa.timestamp("us", tz="UTC")


def repeated_rows(found: Sequence[Mapping[Any, Any]]) -> pa.Table:
    """Return keys that identify nothing on a day as the parameter table ``REPEATED``."""
    columns: dict[str, pa.DataType] = {"key": pa.string(), "part": pa.string(), "day": pa.date32()}
    return small_table(columns, ([row[name] for name in columns] for row in found))


def parameter_tables(
    window: Window, shared_senders: Sequence[str], read_at: Mapping[date, datetime]
) -> dict[str, pa.Table]:
    """Return ``window_days``, ``search_days``, ``shared_senders`` and ``openai_prices``; see ``Parameters``."""
    return {
        "window_days": _days(window, read_at),
        "search_days": _search_days(window),
        "shared_senders": small_table({"number": pa.string()}, ([each] for each in sorted(set(shared_senders)))),
        "openai_prices": _prices(),
    }


def key_blocks(secret: bytes) -> dict[str, pa.Table]:
    """Return the blocks of the customers' secret as a table, so that no statement, plan or error holds them."""
    return {KEY_BLOCKS: small_table({"inner": pa.string(), "outer": pa.string()}, [padded_blocks(secret)])}


def _days(w: Window, known: Mapping[date, datetime]) -> pa.Table:
    read_at = {day: known.get(day, w.as_of) for day in w.days}
    return small_table(
        {"day": pa.date32(), "data_through": _INSTANT, "is_final": pa.bool_()},
        ((day, min(day_end(day, w.zone), at), is_final(day, w.zone, w.settle_days, at)) for day, at in read_at.items()),
    )


def _search_days(w: Window) -> pa.Table:
    return small_table(
        {"day": pa.date32(), "start_at": _INSTANT, "end_at": _INSTANT},
        ((day, day_start(day, w.zone), day_end(day, w.zone)) for day in w.days.widen(w.settle_days)),
    )


def _prices() -> pa.Table:
    """Return the dated price table: the highest price per token of a model, in nano-USD, from a day on."""
    prices = upper_prices()
    ends = [
        following.valid_from if following is not None and following.model == price.model else OPEN_END
        for price, following in zip(prices, [*prices[1:], None], strict=True)
    ]
    return small_table(
        {
            "price_model": pa.string(),
            "valid_from": pa.date32(),
            "valid_until": pa.date32(),
            "upper_nano_usd_per_token": pa.int64(),
        },
        (
            (price.model, price.valid_from, end, price.nano_usd_per_token)
            for price, end in zip(prices, ends, strict=True)
        ),
    )
