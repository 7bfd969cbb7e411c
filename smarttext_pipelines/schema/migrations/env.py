"""Alembic environment; ``schema.migrate`` is the only caller and passes a connection, or none to print the SQL."""

from typing import Any

from alembic import context

from smarttext_pipelines.schema.tables import MONITORING, metadata

_OPTIONS: dict[str, Any] = {
    "target_metadata": metadata,
    "version_table_schema": MONITORING,
    "include_schemas": True,
    "transaction_per_migration": True,
}

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True, **_OPTIONS)
else:
    context.configure(connection=context.config.attributes["connection"], **_OPTIONS)
with context.begin_transaction():
    context.run_migrations()
