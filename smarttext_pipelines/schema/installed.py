"""What ``migrate`` leaves behind, kept in ``monitoring.installed_objects`` so that changes are noticed."""

import hashlib
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.schema.access import Standing, access_statements
from smarttext_pipelines.schema.adoption.change import COMPARED
from smarttext_pipelines.schema.public_state import FUNCTIONS, STATE
from smarttext_pipelines.schema.sources import source_statement

_HAS_INSTALLED = text("SELECT to_regclass('monitoring.installed_objects') IS NOT NULL")
_INSTALLED = text("SELECT kind, object, state FROM monitoring.installed_objects")
_SCRIPT = ("script", "migrate")
_PARTS = {kind: ", ".join(f"'{part}', s.state -> '{part}'" for part in parts) for kind, parts in COMPARED.items()}
_KEPT = " ".join(f"WHEN '{kind}' THEN jsonb_build_object({parts})" for kind, parts in _PARTS.items())
_FUNCTIONS = ", ".join(f"'{name}'" for name in FUNCTIONS)
_RECORD = f"""
DO $do$
DECLARE
    path CONSTANT text := current_setting('search_path');
BEGIN
    PERFORM set_config('search_path', 'pg_catalog', true);
    WITH found AS (
        SELECT s.kind, s.object, CASE s.kind {_KEPT} END AS state FROM ({STATE}) AS s
        WHERE s.kind = 'view' OR s.kind = 'function' AND s.object = ANY (ARRAY[{_FUNCTIONS}])
            OR s.kind = 'trigger' AND starts_with(s.object, 'api_usage.smarttext_count_')
            OR s.kind = 'policy' AND s.object LIKE '%.service\\_role\\_all'
        UNION ALL SELECT '{_SCRIPT[0]}', '{_SCRIPT[1]}', jsonb_build_object('sha256', '{{sha256}}')
    ), gone AS (
        DELETE FROM monitoring.installed_objects AS i
        WHERE i.kind <> 'comment' AND NOT EXISTS (SELECT FROM found AS f WHERE f.kind = i.kind AND f.object = i.object)
    )
    INSERT INTO monitoring.installed_objects AS i (kind, object, state) SELECT f.kind, f.object, f.state FROM found AS f
    ON CONFLICT (kind, object) DO UPDATE SET state = excluded.state WHERE i.state <> excluded.state;
    PERFORM set_config('search_path', path, true);
END $do$
"""  # noqa: S608 - constant names


def fingerprint() -> str:
    """Return the hash of what every ``migrate`` of this version runs, on any database."""
    statements = [source_statement(), *access_statements(ZoneInfo("UTC"), Standing())]
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()


def record_installed() -> str:
    """Return the statement that stores the present state of ``public`` as installed; it writes only what differs."""
    return _RECORD.replace("{sha256}", fingerprint())


def read_installed(connection: Connection) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what the last migrate left in ``public``."""
    if not connection.execute(_HAS_INSTALLED).scalar_one():
        return {}
    return {(row.kind, row.object): row.state for row in connection.execute(_INSTALLED)}


def is_of_this_version(connection: Connection) -> bool:
    """Return whether the last migrate ran what this version would run."""
    return read_installed(connection).get(_SCRIPT) == {"sha256": fingerprint()}
