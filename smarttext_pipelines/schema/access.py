"""Views, functions, policies, grants and comments: replaced as a whole by every ``migrate``.

They hold no rows, and roles may appear after the first migration, so they have no revision of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from smarttext_pipelines.schema.explaining_views import view_statements
from smarttext_pipelines.schema.guardrail import guardrail_statements
from smarttext_pipelines.schema.near_functions import near_statements
from smarttext_pipelines.schema.reset_date import reset_date_default
from smarttext_pipelines.schema.rights.application_functions import application_function_statements
from smarttext_pipelines.schema.rights.public_roles import function_rights, table_rights
from smarttext_pipelines.schema.rights.roles import role_grants, role_policies
from smarttext_pipelines.schema.rights.writers import Writers
from smarttext_pipelines.schema.suppression import suppression_statements
from smarttext_pipelines.schema.tables import metadata
from smarttext_pipelines.schema.views import public_view_statements

# Comments that people wrote in public stay; those of an earlier version of this project are replaced.
_COMMENTS = """
DO $do$
DECLARE
    new record;
BEGIN
    FOR new IN SELECT v.*, n.nspname = 'public' AS is_public, c.relname || coalesce('.' || v.attribute, '') AS object
    FROM (VALUES
        {values}
    ) AS v (relation, attribute, comment)
    JOIN pg_class AS c ON c.oid = v.relation AND c.relkind IN ('r', 'p')
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute AS a ON a.attrelid = v.relation AND a.attname = v.attribute
    LEFT JOIN pg_description AS d ON d.classoid = 'pg_class'::regclass AND d.objoid = v.relation
        AND d.objsubid = coalesce(a.attnum, 0)
    LEFT JOIN monitoring.installed_objects AS i ON i.kind = 'comment'
        AND i.object = c.relname || coalesce('.' || v.attribute, '')
    WHERE d.description IS DISTINCT FROM v.comment
        AND (n.nspname <> 'public' OR d.description IS NULL OR d.description = i.state ->> 'comment')
        AND NOT (n.nspname = 'public' AND c.relname = 'businesses' AND EXISTS (
            SELECT FROM monitoring.adoption_record AS r
            WHERE r.occasion = 'adoption' AND r.kind = 'table' AND r.object = 'businesses'))
    LOOP
        IF new.attribute IS NULL THEN
            EXECUTE format('COMMENT ON TABLE %s IS %L', new.relation, new.comment);
        ELSE
            EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', new.relation, new.attribute, new.comment);
        END IF;
        IF new.is_public THEN
            INSERT INTO monitoring.installed_objects (kind, object, state)
            VALUES ('comment', new.object, jsonb_build_object('comment', new.comment))
            ON CONFLICT (kind, object) DO UPDATE SET state = excluded.state;
        END IF;
    END LOOP;
END $do$
"""


@dataclass(frozen=True)
class Standing:
    """What stays in ``public`` across a migrate.

    Attributes:
        writers: Table of the application → who of the public roles writes it.
        orders: View → its sort order.
    """

    writers: Writers = field(default_factory=dict)
    orders: Mapping[str, str] = field(default_factory=dict)


def access_statements(zone: ZoneInfo, standing: Standing) -> list[str]:
    """Return the statements that give views, functions, rights, defaults and comments their present state.

    The application's own functions come last: while ours are not committed, its schema script would wait for them.
    """
    return [
        *public_view_statements(standing.orders),
        reset_date_default(zone),
        *guardrail_statements(),
        *view_statements(),
        *near_statements(),
        *suppression_statements(),
        table_rights(standing.writers),
        _comments(),
        *application_function_statements(),
        function_rights(standing.writers),
        role_grants(),
        role_policies(),
    ]


def _comments() -> str:
    tables = metadata.sorted_tables
    on_tables = [(table, None, table.comment) for table in tables]
    on_columns = [(table, column.name, column.comment) for table in tables for column in table.columns]
    values = (
        f"('{table.schema}.{table.name}'::regclass, {_literal(name)}, {_literal(comment)})"
        for table, name, comment in [*on_tables, *on_columns]
    )
    return _COMMENTS.replace("{values}", ",\n        ".join(values))


def _literal(value: str | None) -> str:
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"
