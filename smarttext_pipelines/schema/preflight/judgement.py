"""What prevents a migration, and what is only worth knowing: judged by the catalog alone; pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Enum, Table
from sqlalchemy.types import TypeEngine

from smarttext_pipelines.schema.preflight.catalog import PUBLIC_VIEWS, TABLES, WIDENED, Catalog, Column, Relation
from smarttext_pipelines.schema.public_state import APPLICATION_FUNCTIONS
from smarttext_pipelines.schema.rights.roles import FUNCTIONS
from smarttext_pipelines.schema.sources import kind_of, source_columns
from smarttext_pipelines.schema.tables import metadata

OLDEST_VERSION = 150000
FUNCTION_SHAPES = {
    "check_openai_usage_limit": (["business_id"], "record"),
    "reserve_openai_usage": (["business_id", "tokens", "request_id", "endpoint", "model", "cost_estimate"], "record"),
    "settle_openai_usage": (["request_id", "actual_tokens", "cost"], "record"),
    "cancel_openai_usage": (["request_id"], "record"),
    "reset_daily_openai_usage": (["business_id"], "void"),
    "check_sms_recipient": (["business_id", "to_number"], "record"),
}
"""Names of the arguments and the result of our functions: PostgreSQL replaces only a function with the same ones."""

_VIEW_COLUMNS = {
    "sms_failure_rates": {
        "business_id": "uuid", "date": "date", "total_attempts": "bigint", "successful": "bigint", "failed": "bigint",
        "failure_rate_percent": "numeric",
    },
    "openai_daily_usage": {
        "business_id": "uuid", "date": "date", "total_tokens": "bigint", "total_cost": "numeric",
    },
}  # fmt: skip
_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence", "c": "a type"}
_READ_ONLY = ("v", "m", "f")
_REFLECTED = {
    "VARCHAR": "character varying",
    "CHAR": "character",
    "DOUBLE_PRECISION": "double precision",
    "REAL": "real",
}
_CODES = ("integer", "bigint")
_TEXTS = ("text", "character varying", "character", "citext")
_ALIKE = {
    "timestamp with time zone": ("timestamp with time zone", "timestamp without time zone"),
    "integer": ("integer", "bigint", "smallint"),
    "bigint": ("bigint", "integer"),
    "numeric": ("numeric", "double precision", "real"),
    "jsonb": ("jsonb", "json", "text"),
}
_MAY_BE_COMPUTED = ("reset_date", "body_length", "error_message", "call_status", "owner_notified", "detection_source")
"""Columns that the table may fill by itself: no number depends on what we would have written."""


@dataclass
class Findings:
    """The result.

    Attributes:
        refusals: What must be changed before a migration, a line each: object, what it is, what to do.
        notes: What works differently from the declared tables.
    """

    refusals: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def judge(catalog: Catalog, zone: ZoneInfo) -> Findings:
    """Return everything that concerns a migration of this database to the newest revision."""
    findings = Findings()
    findings.refusals += _server(catalog)
    for table in TABLES:
        relation = catalog.relations.get(table.name)
        if relation is not None:
            _judge_table(findings, catalog, table, relation, zone)
    findings.refusals += [*_views(catalog), *_functions(catalog)]
    return findings


def is_workable(table: str, column: str, found: Column) -> bool:
    """Return whether a column is read and written with the right values although its type is not the declared one."""
    whole = next(t for t in TABLES if t.name == table)
    declared = whole.columns[column]
    kind = kind_of(declared.type)
    if column not in {c.name for c in source_columns(whole)}:
        return True
    if kind == "text":
        return (
            found.base.split(".")[-1] in _TEXTS
            or found.family in ("e",)
            or (column == "error_code" and found.base in _CODES)
        )
    return found.base in _ALIKE.get(kind, (kind,))


def is_workable_type(table: str, column: str, type_: TypeEngine[Any]) -> bool:
    """Return the same for a type that SQLAlchemy reflects, where it is of another kind than declared."""
    base = _REFLECTED.get(type(type_).__name__) or kind_of(type_)
    if getattr(type_, "timezone", None) is False:
        base = "timestamp without time zone"
    declared = next(t for t in TABLES if t.name == table).columns[column]
    if base == kind_of(declared.type):
        return False
    found = Column(column, "e" if isinstance(type_, Enum) else "b", base, base, None)
    return (table != "daily_stats" or column == "updated_at") and is_workable(table, column, found)


def _server(catalog: Catalog) -> Iterator[str]:
    role = catalog.role
    if catalog.version < OLDEST_VERSION:
        yield f"PostgreSQL {catalog.version // 10000} is too old: version 15 or newer is needed"
    if not catalog.may_create_in_public:
        yield f"schema public: the role '{role}' may not create in it; GRANT USAGE, CREATE ON SCHEMA public TO it"
    if not catalog.may_create_monitoring:
        yield f"schema monitoring: the role '{role}' may not create it or in it; connect as the owner of the database"
    if not catalog.may_use_temporary:
        yield f"the role '{role}' may not make temporary tables; GRANT TEMPORARY ON DATABASE to it"
    if catalog.revision is None:
        ours = {t.name for t in metadata.tables.values() if t.schema == "monitoring"}
        for name in sorted(ours & set(catalog.monitoring)):
            yield f"monitoring.{name} is there and was not made by a migration; rename it or drop it"


def _judge_table(findings: Findings, catalog: Catalog, table: Table, relation: Relation, zone: ZoneInfo) -> None:
    if not _judge_kind(findings, catalog, table, relation):
        return
    concern = {c.name for c in source_columns(table)}
    for declared in table.columns:
        found = relation.columns.get(declared.name)
        if found is None and (relation.is_table or declared.name in concern):
            findings.refusals += _missing(relation, declared.name, is_needed=not declared.nullable)
        elif found is not None and declared.name in concern:
            _judge_column(findings, table, relation, found, zone)
    findings.refusals += _in_the_way(catalog, relation)


def _judge_kind(findings: Findings, catalog: Catalog, table: Table, relation: Relation) -> bool:
    """Judge what a relation is and who owns it; return whether its columns need to be judged."""
    name = f"public.{table.name}"
    is_source = table.name != "daily_stats"
    if relation.kind in _READ_ONLY and table.name not in ("api_usage", "daily_stats"):
        findings.notes.append(f"{name} is {_KINDS[relation.kind]}: it is read; nothing is written into it or archived")
    elif not relation.is_table or (not is_source and relation.kind == "p"):
        what = _KINDS.get(relation.kind, "a partitioned table")
        why = "the guard counts it by triggers" if is_source else "every rollup rewrites rows of it"
        findings.refusals.append(f"{name} is {what}, and {why}; give that name to a plain table")
        return False
    elif not relation.is_owned:
        findings.refusals.append(
            f"{name} belongs to '{relation.owner}'; connect as that role, or GRANT it to '{catalog.role}'"
        )
    elif relation.kind == "p" and table.name == "api_usage":
        findings.notes.append(
            f"{name} is partitioned: a row that is written into a partition itself is counted by the guard if the"
            " partition was there at the last `smarttext migrate`"
        )
    return True


def _missing(relation: Relation, column: str, *, is_needed: bool) -> Iterator[str]:
    if not relation.is_table:
        yield f"public.{relation.name} is {_KINDS[relation.kind]} without the column {column}; add it there"
    elif column == "id":
        yield f"public.{relation.name} has no column id; add one: uuid PRIMARY KEY DEFAULT gen_random_uuid()"
    elif is_needed and relation.has_rows:
        yield f"public.{relation.name} has rows but lacks the required column {column}; add and fill it"


def _judge_column(findings: Findings, table: Table, relation: Relation, found: Column, zone: ZoneInfo) -> None:
    name = f"public.{table.name}.{found.name}"
    declared = table.columns[found.name]
    wanted = kind_of(declared.type)
    if not is_workable(table.name, found.name, found):
        why = "rows are identified, tracked and archived by a uuid" if found.name == "id" else f"it must be {wanted}"
        findings.refusals.append(f"{name} is {found.type}: {why}; change its type")
        return
    if found.base == "timestamp without time zone":
        findings.notes.append(f"{name} has no time zone: its times are taken as UTC")
    if found.base in _CODES and wanted == "text":
        findings.notes.append(f"{name} is {found.type}: a code that is no number is left out when it is written")
    if found.generated is None or not relation.is_table or table.name == "businesses":
        return
    if table.name == "daily_stats" or found.name not in _MAY_BE_COMPUTED:
        findings.refusals.append(
            f"{name} is computed by the table, and must be written; ALTER COLUMN … DROP EXPRESSION"
        )
    elif found.name == "reset_date" and not _is_day_of(found.generated, relation, zone):
        findings.refusals.append(
            f"{name} is computed by the table, and not as the day in {zone.key}; ALTER COLUMN … DROP EXPRESSION"
        )
    else:
        findings.notes.append(f"{name} is computed by the table: it is read and never written")


def _is_day_of(expression: str, relation: Relation, zone: ZoneInfo) -> bool:
    """Return whether a reset_date that the table computes is the reporting day: then budgets are of the same day."""
    if "created_at" not in expression:
        return False
    has_zone = relation.columns["created_at"].base == "timestamp with time zone"
    if has_zone:
        return f"'{zone.key}'" in expression
    return zone.key == "UTC" and ("AT TIME ZONE" not in expression and "timezone(" not in expression)


def _in_the_way(catalog: Catalog, relation: Relation) -> Iterator[str]:
    """Yield what names a column whose type the first migrations change, or the key that one replaces."""
    done = catalog.revision or ""
    if done >= ("0001" if relation.name == "api_usage" else "0002") or not relation.is_table:
        return
    for column in WIDENED.get(relation.name, ()):
        found = relation.columns.get(column)
        if found is None or (relation.name == "api_usage" and found.type != "numeric(10,6)"):
            continue
        for thing in catalog.built_on.get(f"{relation.name}.{column}", ()):
            yield (
                f"{thing} is built on public.{relation.name}.{column}, whose type is widened; drop it, and create it"
                " again afterwards"
            )
    if relation.name == "daily_stats":
        for thing in catalog.built_on.get("daily_stats", ()):
            yield f"{thing} refers to the key of public.daily_stats, which is replaced; drop it, or refer to its id"


def _views(catalog: Catalog) -> Iterator[str]:
    for name in PUBLIC_VIEWS:
        relation = catalog.relations.get(name)
        if relation is None:
            continue
        if relation.kind != "v":
            what = _KINDS.get(relation.kind, "a table")
            yield f"public.{name} is {what}, and must be a view; rename it"
        elif not relation.is_owned:
            yield f"public.{name} belongs to '{relation.owner}'; connect as that role, or GRANT it to '{catalog.role}'"
        elif _is_replaced_only_by_dropping(relation):
            for thing in catalog.built_on.get(name, ()):
                yield f"{thing} is built on public.{name}, whose columns change; drop it, and create it again then"


def _is_replaced_only_by_dropping(view: Relation) -> bool:
    """Return whether a view has other columns than ours, so that it cannot be replaced in its place."""
    wanted = _VIEW_COLUMNS[view.name]
    first = {name: column.type for name, column in list(view.columns.items())[: len(wanted)]}
    return list(first.items()) != list(wanted.items())[: len(first)]


def _functions(catalog: Catalog) -> Iterator[str]:
    for function in catalog.functions:
        if function.kind != "f":
            yield f"public.{function.signature} is no plain function; rename it"
        elif not function.is_owned:
            yield f"public.{function.signature} belongs to another role; connect as that role, or drop it"
        elif function.name in FUNCTION_SHAPES and function.signature not in APPLICATION_FUNCTIONS:
            arguments, result = FUNCTION_SHAPES[function.name]
            if (function.arguments, function.result) != (arguments, result):
                yield f"public.{function.signature} has other arguments or another result than ours; rename it"


SIGNATURES = [signature for signature in FUNCTIONS if signature.startswith("public.")]
