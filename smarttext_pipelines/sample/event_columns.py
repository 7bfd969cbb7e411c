"""Whole columns at once: random ids, sids, numbers, times and money as Arrow arrays, without a Python loop over rows.

This module does not know what the columns mean.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smarttext_pipelines.sample.spec import DAY_US, SECOND_US

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Column: TypeAlias = Any
"""An Arrow array; the stubs of pyarrow type compute functions by element, which no table here needs."""

_HEX_PAIRS = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype=np.uint16)
_UUID_DASHES = (8, 13, 18, 23)
_UUID_DIGITS = np.array([at for at in range(36) if at not in _UUID_DASHES])


def _buffer(values: Any) -> pa.Buffer:
    return pa.py_buffer(values)


def _text(codes: npt.NDArray[np.uint8]) -> Column:
    """Return the rows of a matrix of character codes as texts of equal length."""
    rows, width = codes.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    return pa.StringArray.from_buffers(rows, _buffer(offsets), _buffer(np.ascontiguousarray(codes)))


def _hex(rng: np.random.Generator, rows: int, size: int) -> npt.NDArray[np.uint8]:
    random = np.frombuffer(rng.bytes(rows * size), dtype=np.uint8)
    return _HEX_PAIRS[random].view(np.uint8).reshape(rows, size * 2)


def uuids(rng: np.random.Generator, rows: int) -> Column:
    """Return random UUIDs of version 4, as a database would have given."""
    codes = np.full((rows, 36), ord("-"), dtype=np.uint8)
    codes[:, _UUID_DIGITS] = _hex(rng, rows, 16)
    codes[:, 14] = ord("4")
    codes[:, 19] = np.frombuffer(b"89ab", dtype=np.uint8)[codes[:, 19] % 4]
    return _text(codes)


def tokens(rng: np.random.Generator, rows: int, prefix: str, size: int = 16) -> Column:
    """Return a prefix and random hex digits, such as the sids of Twilio."""
    digits = _hex(rng, rows, size)
    head = np.broadcast_to(np.frombuffer(prefix.encode(), dtype=np.uint8), (rows, len(prefix)))
    return _text(np.hstack([head, digits]))


def phones(numbers: Ints) -> Column:
    """Return +1AAA555LLLL for numbers AAALLLL."""
    powers = 10 ** np.arange(6, -1, -1, dtype=np.int64)
    digits = (numbers[:, None] // powers % 10 + ord("0")).astype(np.uint8)
    head, exchange = (np.broadcast_to(np.frombuffer(b, np.uint8), (len(numbers), len(b))) for b in (b"+1", b"555"))
    return _text(np.hstack([head, digits[:, :3], exchange, digits[:, 3:]]))


def pick(values: Sequence[Any], index: npt.NDArray[np.integer[Any]]) -> Column:
    """Return the values at the indexes."""
    return pa.array(values).take(pa.array(index))


def draw_index(rng: np.random.Generator, rows: int, weights: Sequence[float]) -> Ints:
    """Return random indexes that follow the weights."""
    edges = np.cumsum(np.asarray(weights, dtype=np.float64))
    return np.searchsorted(edges[:-1] / edges[-1], rng.random(rows), side="right").astype(np.int64)


def draw(rng: np.random.Generator, rows: int, weights: Mapping[str, float]) -> Column:
    """Return random texts that follow the weights."""
    return pick(list(weights), draw_index(rng, rows, list(weights.values())))


def seconds(rng: np.random.Generator, rows: int, minimum: float, maximum: float) -> Ints:
    """Return evenly spread durations in microseconds."""
    return rng.integers(int(minimum * SECOND_US), int(maximum * SECOND_US), rows)


def long_tailed(rng: np.random.Generator, rows: int, median: float, sigma: float, maximum: float) -> Ints:
    """Return log-normal durations in microseconds from a median and a limit in seconds."""
    drawn = np.minimum(median * np.exp(sigma * rng.standard_normal(rows)), maximum)
    return (drawn * SECOND_US).astype(np.int64)


def instants(at: Ints, missing: Bools | None = None) -> Column:
    """Return microseconds since 1970 as times in UTC."""
    return pa.array(at, mask=missing).cast(pa.timestamp("us", "UTC"))


def utc_dates(at: Ints, missing: Bools) -> Column:
    """Return the UTC days of microseconds since 1970."""
    return pa.array((at // DAY_US).astype(np.int32), mask=missing).cast(pa.date32())


def usd(micros: Ints) -> Column:
    """Return exact decimals with six places from millionths of a dollar."""
    words = np.zeros((len(micros), 2), dtype=np.int64)
    words[:, 0] = micros
    return pa.Array.from_buffers(pa.decimal128(18, 6), len(micros), [None, _buffer(words)])


def flags(values: Bools, missing: Bools | None = None) -> Column:
    """Return booleans, NULL where missing."""
    return pa.array(values, mask=missing)


def nothing(rows: int) -> Column:
    """Return a text column that is NULL throughout."""
    return pa.nulls(rows, pa.string())


def constant(value: str, rows: int) -> Column:
    """Return one text for all rows."""
    return pa.repeat(pa.scalar(value), rows)
