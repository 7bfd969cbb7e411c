"""The event tables as external assets: visible in the lineage, observed by the rollups that read them."""

import dagster as dg

from smarttext_pipelines.defs.metadata import column_schema
from smarttext_pipelines.schema.tables import SOURCE_TABLES

SOURCE_ASSETS = [
    dg.AssetSpec(
        table.name,
        group_name="sources",
        description=table.comment,
        kinds={"postgres", "table"},
        owners=["team:application"],
        tags={"pii": "true"},
        metadata={"dagster/column_schema": column_schema(table), "dagster/table_name": f"{table.schema}.{table.name}"},
    )
    for table in SOURCE_TABLES
]
"""No data versions: a new one would mark every downstream partition as outdated."""
