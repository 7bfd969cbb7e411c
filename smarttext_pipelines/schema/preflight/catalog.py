"""What a migration needs to know of a database, read from its catalog in one pass; nothing is judged here."""

from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from smarttext_pipelines.schema.tables import SOURCE_TABLES
from smarttext_pipelines.schema.tables.statistics import daily_stats

TABLES = (*SOURCE_TABLES, daily_stats)
PUBLIC_VIEWS = ("sms_failure_rates", "openai_daily_usage")
WIDENED = {"api_usage": ("cost_estimate",), "daily_stats": ("openai_tokens_used", "openai_cost_estimate")}
"""Columns whose type the first migrations change."""

_SERVER = text(
    """
    SELECT current_setting('server_version_num')::int AS version, current_user AS role,
           has_database_privilege(current_database(), 'TEMPORARY') AS may_use_temporary,
           has_schema_privilege('public', 'CREATE') AS may_create_in_public,
           CASE WHEN to_regnamespace('monitoring') IS NULL THEN has_database_privilege(current_database(), 'CREATE')
                ELSE has_schema_privilege('monitoring', 'CREATE, USAGE') END AS may_create_monitoring,
           ARRAY(SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace('monitoring')
                     AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S') ORDER BY relname) AS monitoring
    """
)
_RELATIONS = text(
    """
    SELECT c.relname AS name, c.relkind::text AS kind, pg_has_role(c.relowner, 'USAGE') AS is_owned,
           c.relowner::regrole::text AS owner
    FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (:names)
        AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
    """
)
_COLUMNS = text(
    """
    SELECT c.relname AS relation, a.attname AS name, t.typtype::text AS family,
           format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) AS base,
           format_type(a.atttypid, a.atttypmod) AS type,
           CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END AS generated
    FROM pg_attribute AS a
    JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_type AS t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (:names) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY c.relname, a.attnum
    """
)
# Indexes, constraints and statistics are rebuilt with a column; anything else that names it prevents its new type.
_BUILT_ON_COLUMNS = text(
    """
    SELECT DISTINCT c.relname AS relation, a.attname AS name,
           coalesce((SELECT pg_describe_object('pg_class'::regclass, r.ev_class, 0) FROM pg_rewrite AS r
                     WHERE d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid),
                    (SELECT pg_describe_object('pg_class'::regclass, g.adrelid, g.adnum) FROM pg_attrdef AS g
                     WHERE d.classid = 'pg_attrdef'::regclass AND g.oid = d.objid),
                    pg_describe_object(d.classid, d.objid, d.objsubid)) AS object
    FROM pg_class AS c
    CROSS JOIN LATERAL (SELECT c.oid AS relid UNION SELECT relid FROM pg_partition_tree(c.oid)) AS part
    JOIN pg_attribute AS a ON a.attrelid = part.relid AND a.attname = ANY (:columns)
    JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname = :relation AND c.relkind IN ('r', 'p')
        AND d.classid NOT IN ('pg_class'::regclass, 'pg_constraint'::regclass, 'pg_statistic_ext'::regclass)
        AND NOT (d.classid = 'pg_attrdef'::regclass AND EXISTS (
            SELECT FROM pg_attrdef AS g WHERE g.oid = d.objid AND g.adnum = a.attnum AND a.attgenerated = ''))
        AND NOT (d.classid = 'pg_rewrite'::regclass AND EXISTS (
            SELECT FROM pg_rewrite AS r WHERE r.oid = d.objid AND r.ev_class = to_regclass('public.openai_daily_usage')
                AND c.relname = 'api_usage'))
    """
)
_BUILT_ON_VIEWS = text(
    """
    SELECT DISTINCT v.relname AS view, pg_describe_object('pg_class'::regclass, r.ev_class, 0) AS object
    FROM pg_class AS v
    JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = v.oid
        AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite AS r ON r.oid = d.objid AND r.ev_class <> v.oid
    WHERE v.relnamespace = 'public'::regnamespace AND v.relname = ANY (:views)
    """
)
_BUILT_ON_KEY = text(
    """
    SELECT f.conrelid::regclass::text || '.' || f.conname AS object FROM pg_constraint AS f
    JOIN pg_index AS i ON i.indexrelid = f.conindid
    WHERE f.contype = 'f' AND f.confrelid = to_regclass('public.daily_stats') AND i.indnkeyatts = 2
    """
)
_FUNCTIONS = text(
    """
    SELECT p.oid::regprocedure::text AS signature, p.proname AS name, p.prokind::text AS kind,
           coalesce(p.proargnames[1:p.pronargs], '{}') AS arguments, p.prorettype::regtype::text AS result,
           pg_has_role(p.proowner, 'USAGE') AS is_owned
    FROM pg_proc AS p
    WHERE p.oid = ANY (SELECT to_regprocedure(s) FROM unnest(CAST(:signatures AS text[])) AS s)
    """
)


@dataclass(frozen=True)
class Column:
    """A column as it is: its base type without length, its full type, its expression where the table computes it."""

    name: str
    family: str
    base: str
    type: str
    generated: str | None


@dataclass(frozen=True)
class Relation:
    """A relation in ``public`` that has one of our names; ``kind`` as ``pg_class.relkind``."""

    name: str
    kind: str
    is_owned: bool
    owner: str
    columns: dict[str, Column] = field(default_factory=dict)
    has_rows: bool = False

    @property
    def is_table(self) -> bool:
        """Whether it can have indexes and triggers."""
        return self.kind in ("r", "p")


@dataclass(frozen=True)
class Function:
    """A function in ``public`` with the signature of one of our functions."""

    signature: str
    name: str
    kind: str
    arguments: list[str]
    result: str
    is_owned: bool


@dataclass(frozen=True)
class Catalog:
    """Everything that is judged.

    Attributes:
        built_on: Objects by what they name: ``table.column``, ``view``, or ``daily_stats`` for its key.
    """

    version: int
    role: str
    revision: str | None
    may_use_temporary: bool
    may_create_in_public: bool
    may_create_monitoring: bool
    monitoring: list[str]
    relations: dict[str, Relation]
    built_on: dict[str, list[str]]
    functions: list[Function]


def read_catalog(connection: Connection, revision: str | None, signatures: list[str]) -> Catalog:
    """Read it in the caller's transaction; changes nothing.

    Args:
        connection: As the role that migrates.
        revision: Newest revision that has run.
        signatures: Our functions in ``public``.
    """
    names = [*(table.name for table in TABLES), *PUBLIC_VIEWS]
    found = connection.execute(_RELATIONS, {"names": names}).mappings()
    relations = {row["name"]: Relation(**row) for row in found}
    for row in connection.execute(_COLUMNS, {"names": names}).mappings():
        if row["relation"] in relations:
            values = {key: value for key, value in row.items() if key != "relation"}
            relations[row["relation"]].columns[row["name"]] = Column(**values)
    filled = {name: _with_rows(connection, relation) for name, relation in relations.items()}
    server = connection.execute(_SERVER).mappings().one()
    functions = [Function(**row) for row in connection.execute(_FUNCTIONS, {"signatures": signatures}).mappings()]
    return Catalog(**server, revision=revision, relations=filled, built_on=_built_on(connection), functions=functions)


def _with_rows(connection: Connection, relation: Relation) -> Relation:
    """Look for rows where a column that cannot be NULL would have to be added."""
    table = next((table for table in TABLES if table.name == relation.name), None)
    if table is None or all(c.nullable or c.name in relation.columns for c in table.columns) or not relation.is_owned:
        return relation
    found = connection.exec_driver_sql(f'SELECT EXISTS (SELECT FROM public."{relation.name}")').scalar_one()  # noqa: S608
    return Relation(**{**relation.__dict__, "has_rows": bool(found)})


def _built_on(connection: Connection) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for relation, columns in WIDENED.items():
        for row in connection.execute(_BUILT_ON_COLUMNS, {"relation": relation, "columns": list(columns)}):
            found.setdefault(f"{row.relation}.{row.name}", []).append(row.object)
    for row in connection.execute(_BUILT_ON_VIEWS, {"views": list(PUBLIC_VIEWS)}):
        found.setdefault(row.view, []).append(row.object)
    keys = [row.object for row in connection.execute(_BUILT_ON_KEY)]
    return {**found, **({"daily_stats": keys} if keys else {})}
