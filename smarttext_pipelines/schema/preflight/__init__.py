"""Checks before the first statement of a migration: all obstacles in one error, with nothing changed."""

from dataclasses import replace
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from smarttext_pipelines.core.errors import SchemaError
from smarttext_pipelines.database.connect import describe
from smarttext_pipelines.schema.installation import is_put_back, revision
from smarttext_pipelines.schema.preflight.catalog import read_catalog
from smarttext_pipelines.schema.preflight.judgement import SIGNATURES, Findings, judge

__all__ = ["Findings", "find_obstacles", "require_possible"]


def find_obstacles(connection: Connection, zone: ZoneInfo) -> Findings:
    """Return what prevents a migration, and what works differently from the declared tables."""
    catalog = read_catalog(connection, revision(connection), SIGNATURES)
    # What a way down has kept there is ours.
    return judge(replace(catalog, monitoring=[]) if is_put_back(connection) else catalog, zone)


def require_possible(connection: Connection, zone: ZoneInfo) -> list[str]:
    """Return what is worth knowing before a migration.

    Raises:
        SchemaError: The migration is not possible; nothing was changed.
    """
    findings = find_obstacles(connection, zone)
    if findings.refusals:
        found = "; ".join(findings.refusals)
        msg = f"{describe(connection.engine.url)} cannot be migrated, and nothing was changed: {found}"
        raise SchemaError(msg)
    return findings.notes
