"""What the event tables share while they are drawn: the hidden columns by which rows are left out."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from smarttext_pipelines.sample import event_columns
from smarttext_pipelines.sample.event_columns import Bools, Column, Ints

UNDATED_SHARE = 0.0005
"""Share of rows without any time."""

NO_BUSINESS = -1
_BUSINESS, _AT = "_business", "_at"


def event_table(rng: np.random.Generator, business: Ints, at: Ints, values: Mapping[str, Column]) -> pa.Table:
    """Return rows with random ids, and what they are about even where the row itself does not say."""
    return pa.table(
        {"id": event_columns.uuids(rng, len(at)), **values, _BUSINESS: pa.array(business), _AT: pa.array(at)}
    )


def hidden(table: pa.Table) -> tuple[Ints, Ints]:
    """Return the business and the time of each row."""
    return table[_BUSINESS].to_numpy(), table[_AT].to_numpy()


def keep(table: pa.Table, which: Bools) -> pa.Table:
    """Return some of the rows."""
    return table if which.all() else table.filter(pa.array(which))


def visible(table: pa.Table) -> pa.Table:
    """Return the rows as they are written."""
    return table.drop_columns([_BUSINESS, _AT])
