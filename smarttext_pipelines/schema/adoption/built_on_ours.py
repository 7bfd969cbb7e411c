"""What others have built on the views that a way down replaces, and on the schema that it drops.

The catalog knows what depends on what; only what a function names in the text of its body is not known.
"""

from sqlalchemy import Connection, text

from smarttext_pipelines.core.errors import SchemaError
from smarttext_pipelines.schema.public_state import FUNCTION_NAMES, VIEWS

_VIEWS = ", ".join(f"'{view}'" for view in VIEWS)
_BUILT_ON = """
WITH relations AS (SELECT c.tableoid AS kind, c.* FROM pg_class AS c WHERE {relations}),
used AS (
    SELECT kind, oid FROM relations
    UNION ALL SELECT t.tableoid, t.oid FROM pg_type AS t JOIN relations AS r
        ON r.reltype <> 0 AND r.reltype IN (t.oid, t.typelem)
    UNION ALL SELECT t.tableoid, t.oid FROM pg_type AS t WHERE {monitoring} = t.typnamespace
    UNION ALL SELECT f.tableoid, f.oid FROM pg_proc AS f WHERE {monitoring} = f.pronamespace
)
SELECT DISTINCT CASE i.type WHEN 'rule' THEN format('%I.%I', a.object_names[1], a.object_names[2])
                            ELSE i.type || ' ' || i.identity END AS name
FROM used AS u JOIN pg_depend AS d ON d.refclassid = u.kind AND d.refobjid = u.oid AND d.deptype IN ('n', 'a')
CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) AS i
CROSS JOIN LATERAL pg_identify_object_as_address(d.classid, d.objid, d.objsubid) AS a
WHERE coalesce(i.schema, a.object_names[1]) IS DISTINCT FROM 'monitoring' AND {others}
"""
_MONITORING = "to_regnamespace('monitoring')"
_OUR_VIEWS = f"c.relnamespace = 'public'::regnamespace AND c.relname IN ({_VIEWS})"
_OTHERS = f"""NOT (
    i.type = 'rule' AND a.object_names[1] = 'public' AND a.object_names[2] IN ({_VIEWS})
    OR i.type = 'trigger' AND a.object_names[3] LIKE 'smarttext\\_%'
    OR i.type = 'function' AND a.object_names[1] = 'public'
        AND a.object_names[2] IN ({", ".join(f"'{name}'" for name in FUNCTION_NAMES)}))"""
"""What the way down removes or replaces before."""

_REFUSAL = "nothing was changed, because of what is built on what is replaced or dropped"


def refuse_what_is_built_on_ours(connection: Connection, *, drops_monitoring: bool) -> None:
    """Raise SchemaError that names what others have built on ours; reads only."""
    query = _built_on(f"({_OUR_VIEWS})", _OTHERS, drops_monitoring=drops_monitoring)
    names = sorted(connection.execute(text(query)).scalars())
    if names:
        msg = f"{_REFUSAL}: {', '.join(names)}; drop these, and create them again afterwards"
        raise SchemaError(msg)


def drop_schema() -> list[str]:
    """Return the statements that drop the schema; they fail if anything outside still needs it."""
    query = _built_on("false", "true", drops_monitoring=True)
    return [
        f"""
DO $do$
DECLARE
    names CONSTANT text := (SELECT string_agg(b.name, ', ' ORDER BY b.name) FROM ({query}) AS b);
BEGIN
    IF names IS NOT NULL THEN
        RAISE EXCEPTION '{_REFUSAL}: %', names;
    END IF;
END $do$
""",  # noqa: S608 - constant
        "DROP SCHEMA monitoring CASCADE",
    ]


def _built_on(views: str, others: str, *, drops_monitoring: bool) -> str:
    monitoring = _MONITORING if drops_monitoring else "0"
    relations = f"{views} OR {monitoring} = c.relnamespace"
    return _BUILT_ON.format(relations=relations, monitoring=monitoring, others=others)
