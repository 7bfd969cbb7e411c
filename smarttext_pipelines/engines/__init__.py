"""Where a metric runs: one interface, an engine per place. Engines compute and stage; they never merge or commit."""

from smarttext_pipelines.engines.archive import ArchiveEngine
from smarttext_pipelines.engines.choice import EngineChoice, SourceDay, read_source_days
from smarttext_pipelines.engines.engine import Engine, Parameters, add_repeated_keys
from smarttext_pipelines.engines.postgres import PostgresEngine

__all__ = [
    "ArchiveEngine",
    "Engine",
    "EngineChoice",
    "Parameters",
    "PostgresEngine",
    "SourceDay",
    "add_repeated_keys",
    "read_source_days",
]
