"""The schema as SQLAlchemy Core tables: the truth that the migrations lead to.

The comment of a column is its entry in the data dictionary (meaning, unit, caveat); it feeds ``COMMENT ON``, the
column schemas in Dagster and ``docs/data-dictionary.md``.
"""

from smarttext_pipelines.schema.tables import alerting, guardrail, internal
from smarttext_pipelines.schema.tables import anomaly_tables as anomalies
from smarttext_pipelines.schema.tables import archive_segments as retention
from smarttext_pipelines.schema.tables import delivery_reports as delivery
from smarttext_pipelines.schema.tables import economics_tables as economics
from smarttext_pipelines.schema.tables import lake_files as lake
from smarttext_pipelines.schema.tables import openai_cost_tables as billing
from smarttext_pipelines.schema.tables import pipeline_health as health
from smarttext_pipelines.schema.tables import source_tables as sources
from smarttext_pipelines.schema.tables import statistics as stats
from smarttext_pipelines.schema.tables.conventions import MONITORING, PUBLIC, metadata

SOURCE_TABLES = (
    sources.businesses,
    sources.sms_events,
    sources.call_events,
    sources.api_usage,
    sources.owner_alerts,
)

__all__ = [
    "MONITORING",
    "PUBLIC",
    "SOURCE_TABLES",
    "alerting",
    "anomalies",
    "billing",
    "delivery",
    "economics",
    "guardrail",
    "health",
    "internal",
    "lake",
    "metadata",
    "retention",
    "sources",
    "stats",
]
