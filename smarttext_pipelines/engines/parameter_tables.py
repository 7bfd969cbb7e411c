"""The parameter tables of statements as Arrow, which an answer from few rows needs none of, and does not import."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from smarttext_pipelines.core.customer_keys import padded_blocks
from smarttext_pipelines.core.days import day_end, day_start, is_final
from smarttext_pipelines.core.openai_prices import upper_prices
from smarttext_pipelines.metrics.customer_days import KEY_BLOCKS
from smarttext_pipelines.metrics.metric import Window

OPEN_END = date(9999, 12, 31)


def repeated_rows(found: Sequence[Mapping[Any, Any]]) -> pa.Table:
    """Return keys that identify nothing on a day as the parameter table ``REPEATED``."""
    return pa.table(
        {
            "key": pa.array([row["key"] for row in found], pa.string()),
            "part": pa.array([row["part"] for row in found], pa.string()),
            "day": _dates(row["day"] for row in found),
        }
    )


def parameter_tables(
    window: Window, shared_senders: Sequence[str], read_at: Mapping[date, datetime]
) -> dict[str, pa.Table]:
    """Return ``window_days``, ``search_days``, ``shared_senders`` and ``openai_prices``; see ``Parameters``."""
    return {
        "window_days": _days(window, read_at),
        "search_days": _search_days(window),
        "shared_senders": pa.table({"number": pa.array(sorted(set(shared_senders)), pa.string())}),
        "openai_prices": _prices(),
    }


def key_blocks(secret: bytes) -> dict[str, pa.Table]:
    """Return the blocks of the customers' secret as a table, so that no statement, plan or error holds them."""
    inner, outer = padded_blocks(secret)
    return {KEY_BLOCKS: pa.table({"inner": pa.array([inner], pa.string()), "outer": pa.array([outer], pa.string())})}


def _days(w: Window, known: Mapping[date, datetime]) -> pa.Table:
    read_at = {day: known.get(day, w.as_of) for day in w.days}
    through = [min(day_end(day, w.zone), at) for day, at in read_at.items()]
    final = [is_final(day, w.zone, w.settle_days, at) for day, at in read_at.items()]
    return pa.table(
        {"day": _dates(w.days), "data_through": _instants(through), "is_final": pa.array(final, pa.bool_())}
    )


def _search_days(w: Window) -> pa.Table:
    days = list(w.days.widen(w.settle_days))
    starts, ends = [day_start(day, w.zone) for day in days], [day_end(day, w.zone) for day in days]
    return pa.table({"day": _dates(days), "start_at": _instants(starts), "end_at": _instants(ends)})


def _dates(days: Iterable[date]) -> "pa.Array[Any]":
    return pa.array(list(days), pa.date32())


def _instants(instants: Iterable[datetime]) -> "pa.Array[Any]":
    return pa.array(list(instants), pa.timestamp("us", tz="UTC"))


def _prices() -> pa.Table:
    """Return the dated price table: the highest price per token of a model, in nano-USD, from a day on."""
    prices = upper_prices()
    ends = [
        following.valid_from if following is not None and following.model == price.model else OPEN_END
        for price, following in zip(prices, [*prices[1:], None], strict=True)
    ]
    return pa.table(
        {
            "price_model": pa.array([price.model for price in prices], pa.string()),
            "valid_from": pa.array([price.valid_from for price in prices], pa.date32()),
            "valid_until": pa.array(ends, pa.date32()),
            "upper_nano_usd_per_token": pa.array([price.nano_usd_per_token for price in prices], pa.int64()),
        }
    )
