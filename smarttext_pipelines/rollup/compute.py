"""What a rollup reads and computes, in one snapshot: the rows of the days, what they are compared with, frozen days."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from smarttext_pipelines.engines import Engine, EngineChoice, PostgresEngine, SourceDay, add_repeated_keys
from smarttext_pipelines.metrics import Metric, Window
from smarttext_pipelines.metrics.window_tables import WINDOW_TABLES
from smarttext_pipelines.rollup.merge import COMPUTED, DayTotals
from smarttext_pipelines.rollup.recorded_days import days_kept


@dataclass(frozen=True)
class Computed:
    """What was read for a metric; its rows are in the temporary table ``COMPUTED`` of the transaction that read.

    Attributes:
        window: The days.
        kept: Days that must not be written.
        events: Rows of the metric's sources, by day.
        repeated: How many keys of the metric's own rows identify nothing, by day.
        sql: The statements that computed it.
        source_totals: What the sources say, by day.
        engine: Name of the engine.
        notes: Why Spark or the lake was not used where it was wanted.
    """

    window: Window
    kept: Collection[date]
    events: Mapping[date, SourceDay]
    repeated: Mapping[date, int]
    sql: str
    source_totals: DayTotals
    engine: str
    notes: Sequence[str]


def compute(
    choice: EngineChoice,
    engine: Engine,
    metric: Metric,
    unready: Collection[date] = (),
    *,
    allow_empty: bool = False,
    shared: Mapping[date, int] | None = None,
) -> Computed:
    """Read and compute a metric.

    Args:
        choice: The engines of the transaction.
        engine: That of the metric, open.
        metric: What to compute.
        unready: Days that cannot be written.
        allow_empty: Compute what is there even where events have gone.
        shared: Where other metrics are computed in the transaction, too: how many keys of this one's own rows identify
            nothing; the engine knows already which.
    """
    window = choice.parameters.window
    of_sources = {source: choice.source_days(source) for source in metric.sources}
    kept = set() if allow_empty else days_kept(choice, metric, window, of_sources)
    repeated = shared
    if repeated is None:
        repeated = add_repeated_keys(engine, [metric.repeated(engine.tables, window)] if metric.repeated else [])
    before = _keep_window_tables(engine, metric, window, is_shared=shared is not None)
    sql = engine.stage(metric.rows(engine.tables, window), COMPUTED)
    return Computed(
        window=window,
        kept=kept | set(unready),
        events=_together(of_sources.values()),
        repeated=repeated,
        sql="\n;\n".join([*before, sql]),
        source_totals=_source_totals(engine, metric, window),
        engine=engine.name,
        notes=choice.notes,
    )


def _keep_window_tables(engine: Engine, metric: Metric, window: Window, *, is_shared: bool) -> list[str]:
    """Let what a metric reads of the window be found once, by statements of their own; return these.

    What is read once is found as fast within the metric's statement; an engine other than PostgreSQL finds all there.
    """
    if not isinstance(engine, PostgresEngine) or not (is_shared or metric.reads_them_twice):
        return []
    for name in metric.window_tables:
        if name not in engine.kept:
            engine.keep(WINDOW_TABLES[name](engine.tables, window), name)
    return [engine.kept[name] for name in metric.window_tables]


def _together(of_sources: Iterable[Mapping[date, SourceDay]]) -> dict[date, SourceDay]:
    found: dict[date, SourceDay] = {}
    for days in of_sources:
        for day, read in days.items():
            known = found.get(day, SourceDay())
            times = [at for at in (known.newest_event_at, read.newest_event_at) if at]
            found[day] = SourceDay(known.rows + read.rows, max(times, default=None))
    return found


def _source_totals(engine: Engine, metric: Metric, window: Window) -> DayTotals:
    rows = engine.fetch(metric.source_totals(engine.tables, window))
    return {row[metric.day]: {name: Decimal(row[name] or 0) for name in metric.totals} for row in rows}
