"""Merge computed rows into a table: exactly the given days; unchanged rows stay untouched, vanished ones go."""

from collections import Counter
from collections.abc import Collection
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
    cast,
    column,
    delete,
    func,
    literal,
    or_,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import insert

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import AgreementError, RepeatedKeyError
from smarttext_pipelines.metrics import Metric

COMPUTED = "computed"
"""Temporary table that an engine stages its result into."""

DayTotals = dict[date, dict[str, Decimal]]


def stage_rows(
    connection: Connection, metric: Metric, target: Table, days: DayRange, written: Collection[date]
) -> Table:
    """Copy the days that are written from ``computed`` into a temporary table of the target's types, with ids.

    Raises:
        RepeatedKeyError: Two rows have the same dimensions.
        AgreementError: A row belongs to another day than those that were asked for.
    """
    columns = _written_columns(target)
    stage = Table(
        "stage",
        MetaData(),
        *(Column(c.name, c.type, primary_key=c.name == "id") for c in (target.c.id, *columns)),
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DROP",
    )
    computed = table(COMPUTED, *(column(c.name) for c in columns))
    repeated = _repeated(connection, [computed.c[name] for name in metric.dimensions])
    if repeated:
        msg = f"{target.name}: {repeated} rows repeat the dimensions of another; nothing was written"
        raise RepeatedKeyError(msg)
    day = computed.c[metric.day]
    stray = connection.scalar(select(func.count()).select_from(computed).where(~day.between(days.first, days.last)))
    if stray:
        msg = f"{target.name}: {stray} rows belong to days outside {days}; nothing was written"
        raise AgreementError(msg)
    stage.create(connection)
    key = func.jsonb_build_array(cast(literal(target.name), Text), *(computed.c[name] for name in metric.dimensions))
    identity = cast(func.md5(cast(key, Text)), Uuid)
    rows = select(identity, *computed.c).where(day.in_(list(written)))
    connection.execute(insert(stage).from_select(["id", *computed.c.keys()], rows))
    return stage


def merge(connection: Connection, metric: Metric, target: Table, stage: Table, days: Collection[date]) -> Counter[date]:
    """Make the days of the target equal to the stage; return how many rows changed on each day."""
    day = target.c[metric.day]
    vanished = delete(target).where(day.in_(days), target.c.id.not_in(select(stage.c.id))).returning(day)
    changed = Counter(connection.scalars(vanished))
    new = insert(target).from_select(stage.c.keys(), select(stage))
    measures = [c for c in stage.c if c.name != "id"]
    written = new.on_conflict_do_update(
        index_elements=[target.c.id],
        set_={**{c.name: new.excluded[c.name] for c in measures}, "updated_at": func.now()},
        where=or_(*(target.c[c.name].is_distinct_from(new.excluded[c.name]) for c in measures)),
    ).returning(day)
    changed.update(connection.scalars(written))
    return changed


def totals_by_day(connection: Connection, source: Table, day: str, days: Collection[date]) -> DayTotals:
    """Return the sum of every measure of a table (a target or its stage), and its ``rows``, by day.

    A measure that is NULL on every row, as on rows that were adopted, is unknown and left out.
    """
    sums = [func.sum(c).label(c.name) for c in source.columns if _is_measure(c)]
    per_day = select(source.c[day], func.count().label("rows"), *sums).where(source.c[day].in_(days))
    names = ["rows", *(c.name for c in source.columns if _is_measure(c))]
    return {
        found: {name: Decimal(value) for name, value in zip(names, values, strict=True) if value is not None}
        for found, *values in connection.execute(per_day.group_by(source.c[day]))
    }


def largest_change(before: dict[str, Decimal], after: dict[str, Decimal]) -> str | None:
    """Return the measure that moved most between two versions of a day, as ``name 120 → 150``; None if none did."""

    def moved(name: str) -> Decimal:
        old, new = before.get(name, Decimal(0)), after.get(name, Decimal(0))
        return abs(new - old) / max(abs(old), Decimal(1))

    name = max(sorted(set(before) | set(after)), key=moved, default="")
    return f"{name} {before.get(name, 0)} → {after.get(name, 0)}" if name and moved(name) else None


def _written_columns(target: Table) -> list[Column[Any]]:
    return [c for c in target.columns if c.name not in ("id", "updated_at")]


def _is_measure(c: Column[Any]) -> bool:
    return isinstance(c.type, Integer | Numeric) and not c.name.endswith(("_percent", "_ms", "_minutes"))


def _repeated(connection: Connection, dimensions: list[Any]) -> int:
    groups = (
        select(func.count().label("n"))
        .select_from(dimensions[0].table)
        .group_by(*dimensions)
        .having(func.count() > 1)
        .subquery()
    )
    return connection.scalar(select(func.coalesce(func.sum(groups.c.n - 1), 0))) or 0
