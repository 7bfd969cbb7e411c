"""Put a database back from the record of its adoption, by nothing but what the record holds."""

from collections.abc import Iterator
from typing import Any

from smarttext_pipelines_tests.conftest import Database

RECORD = (
    "SELECT kind, object, state FROM monitoring.adoption_record WHERE occasion = 'adoption' "
    "ORDER BY array_position(ARRAY['table', 'column', 'constraint', 'index', 'view', 'function', 'policy'], kind), "
    "(state ->> 'place')::int, object"
)
STATE = dict[tuple[str, str], dict[str, Any]]


def put_back(database: Database) -> None:
    """Bring everything in ``public`` back to what was found, and forget the schema ``monitoring``."""
    record: STATE = {(row["kind"], row["object"]): row["state"] for row in database.rows(RECORD)}
    columns = database.rows(
        "SELECT relname || '.' || attname AS name FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid "
        "WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped"
    )
    indexes = database.rows(
        "SELECT tablename || '.' || indexname AS name FROM pg_indexes WHERE schemaname = 'public' "
        "AND strpos(indexdef, 'NULLS NOT DISTINCT') = 0"
    )
    policies = database.rows("SELECT tablename || '.' || policyname AS name FROM pg_policies")
    functions = database.rows(
        "SELECT proname || '(' || oidvectortypes(proargtypes) || ')' AS name FROM pg_proc "
        "WHERE pronamespace = 'public'::regnamespace"
    )
    with database.server.connect(database.name) as connection:
        connection.execute("SET search_path = pg_catalog; SET client_min_messages = error")
        connection.execute("DROP SCHEMA monitoring CASCADE")
        for name in _gone(record, "function", functions):
            connection.execute(f"DROP FUNCTION public.{name}")
        for name in _gone(record, "policy", policies):
            table, policy = name.split(".", 1)
            connection.execute(f'DROP POLICY "{policy}" ON public.{table}')
        connection.execute("DROP INDEX public.daily_stats_business_id_date_key")
        for name in _gone(record, "index", indexes):
            connection.execute(f'DROP INDEX public."{name.split(".", 1)[1]}"')
        for name in _gone(record, "column", columns):
            table, column = name.split(".", 1)
            connection.execute(f'ALTER TABLE public.{table} DROP COLUMN "{column}"')
        for statement in _statements(record, {row["name"] for row in indexes}):
            connection.execute(statement)


def _gone(record: STATE, kind: str, now: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in now if (kind, row["name"]) not in record]


def _statements(record: STATE, indexes: set[str]) -> Iterator[str]:
    for (kind, name), found in record.items():
        relation, _, part = name.partition(".")
        if kind == "table":
            yield f"ALTER TABLE public.{name} {'ENABLE' if found['row_security'] else 'DISABLE'} ROW LEVEL SECURITY"
            yield from _rights(f"TABLE public.{name}", found)
            yield f"COMMENT ON TABLE public.{name} IS {_text(found['comment'])}"
        elif kind == "column" and ("table", relation) in record:
            yield f"ALTER TABLE public.{relation} ALTER COLUMN {part} TYPE {found['type']}"
            default = f"SET DEFAULT {found['default']}" if found["default"] else "DROP DEFAULT"
            yield f"ALTER TABLE public.{relation} ALTER COLUMN {part} {default}"
            yield f"COMMENT ON COLUMN {f'public.{name}'} IS {_text(found['comment'])}"
        elif kind == "index" and name not in indexes and found["is_key"]:
            definition = record["constraint", name]["definition"]
            yield f'ALTER TABLE public.{relation} ADD CONSTRAINT "{part}" {definition}'
        elif kind == "index" and name not in indexes:
            yield found["definition"]
        elif kind == "view":
            yield f"DROP VIEW IF EXISTS public.{name}"
            yield f"CREATE VIEW public.{name} AS {found['definition']}"
            yield from _rights(f"TABLE public.{name}", found)
            if found["comment"]:
                yield f"COMMENT ON VIEW public.{name} IS {_text(found['comment'])}"
        elif kind == "function":
            yield f"DROP FUNCTION IF EXISTS public.{name}"
            yield found["definition"]
            yield from _rights(f"FUNCTION public.{name}", found)
            yield f"COMMENT ON FUNCTION public.{name} IS {_text(found['comment'])}"
        elif kind == "policy":
            roles = ", ".join(found["roles"])
            command = {"*": "ALL", "a": "INSERT", "r": "SELECT", "w": "UPDATE", "d": "DELETE"}[found["command"]]
            conditions = (f" USING ({found['using']})" if found["using"] else "") + (
                f" WITH CHECK ({found['check']})" if found["check"] else ""
            )
            yield f'DROP POLICY IF EXISTS "{part}" ON public.{relation}'
            yield f'CREATE POLICY "{part}" ON public.{relation} FOR {command} TO {roles}{conditions}'


def _rights(thing: str, found: dict[str, Any]) -> Iterator[str]:
    yield f"REVOKE ALL ON {thing} FROM PUBLIC, anon, authenticated, service_role"
    for grantee, rights in (found["rights"] or {}).items():
        yield f"GRANT {', '.join(rights)} ON {thing} TO {grantee}"


def _text(comment: str | None) -> str:
    return "NULL" if comment is None else "'" + comment.replace("'", "''") + "'"
