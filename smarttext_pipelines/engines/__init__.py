"""Where a metric runs: one interface, an engine per place. Engines compute and stage; they never merge or commit."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from smarttext_pipelines.engines.engine import Engine, Parameters, SourceDay, add_repeated_keys
from smarttext_pipelines.engines.postgres import PostgresEngine

if TYPE_CHECKING:
    from smarttext_pipelines.engines.archive import ArchiveEngine
    from smarttext_pipelines.engines.choice import EngineChoice, read_source_days
    from smarttext_pipelines.engines.spark import SparkEngine

__all__ = [
    "ArchiveEngine",
    "Engine",
    "EngineChoice",
    "Parameters",
    "PostgresEngine",
    "SourceDay",
    "SparkEngine",
    "add_repeated_keys",
    "read_source_days",
]


_LATER = {"ArchiveEngine": "archive", "EngineChoice": "choice", "SparkEngine": "spark", "read_source_days": "choice"}


def __getattr__(name: str) -> Any:
    """Import the other engines, and DuckDB with one of them, where somebody asks for it: not for an answer."""
    if name not in _LATER:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
