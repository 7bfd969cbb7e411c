"""What others have built on the schema ``monitoring`` is named before it is dropped, whatever kind it is of."""

from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.core.errors import SchemaError
from smarttext_pipelines.schema.adoption.take_off import down_sql
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.legacy import catalog, install_legacy
from smarttext_pipelines_tests.schema.test_way_down import down

UTC = ZoneInfo("UTC")
COUNTS = "monitoring.count_of_mine()"
BUILT: dict[str, tuple[str, str]] = {
    "policy": (
        "CREATE POLICY mine ON public.notes USING (EXISTS (SELECT FROM monitoring.incidents))",
        "policy mine on public.notes",
    ),
    "foreign key": (
        "ALTER TABLE public.notes ADD CONSTRAINT about FOREIGN KEY (incident) REFERENCES monitoring.incidents (id)",
        "table constraint about on public.notes",
    ),
    "default": (
        f"ALTER TABLE public.notes ALTER COLUMN told SET DEFAULT {COUNTS}::text",
        "default value for public.notes.told",
    ),
    "check": (
        f"ALTER TABLE public.notes ADD CONSTRAINT few CHECK ({COUNTS} < 9)",
        "table constraint few on public.notes",
    ),
    "type": ("ALTER TABLE public.notes ADD COLUMN kind monitoring.incidents", "table column public.notes.kind"),
    "array": ("ALTER TABLE public.notes ADD COLUMN kinds monitoring.incidents[]", "table column public.notes.kinds"),
    "function": (
        "CREATE FUNCTION public.told(monitoring.incidents) RETURNS text LANGUAGE sql AS $$SELECT 'x'$$",
        "function public.told(monitoring.incidents)",
    ),
    "body": (
        "CREATE FUNCTION public.told() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM monitoring.incidents; END",
        "function public.told()",
    ),
    "trigger": (
        "CREATE TRIGGER mine AFTER INSERT ON public.notes FOR EACH STATEMENT EXECUTE FUNCTION monitoring.on_mine()",
        "trigger mine on public.notes",
    ),
    "index": (f"CREATE INDEX mine ON public.notes (({COUNTS}))", "index public.mine"),
    "view": ("CREATE MATERIALIZED VIEW public.board AS SELECT day FROM monitoring.spend", "public.board"),
    "child": ("CREATE TABLE public.more () INHERITS (monitoring.incidents)", "table public.more"),
}


@pytest.fixture
def adopted(empty_database: Database) -> Database:
    install_legacy(empty_database)
    migrate(empty_database.engine, UTC)
    empty_database.run(
        "CREATE TABLE public.notes (incident bigint, told text);"
        f"CREATE FUNCTION {COUNTS} RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT 1';"
        "CREATE FUNCTION monitoring.on_mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
    )
    return empty_database


@pytest.mark.parametrize("kind", BUILT)
def test_what_is_built_on_monitoring_is_named_and_nothing_changes(adopted: Database, kind: str) -> None:
    statement, name = BUILT[kind]
    adopted.run(statement)
    before = catalog(adopted)
    with pytest.raises(SchemaError) as refusal:
        down(adopted, drop_monitoring=True)
    said = str(refusal.value)
    assert f"replaced or dropped: {name}; drop these" in said, said
    assert catalog(adopted) == before


@pytest.mark.parametrize("kind", BUILT)
def test_it_stays_with_monitoring_and_is_named_when_that_is_dropped_later(adopted: Database, kind: str) -> None:
    adopted.run(BUILT[kind][0])
    before = set(map(str, catalog(adopted, "public")))
    down(adopted)
    assert {row for row in before if "notes" in row} <= set(map(str, catalog(adopted, "public")))
    with pytest.raises(SchemaError, match="replaced or dropped"):
        down(adopted, drop_monitoring=True)
    assert adopted.rows("SELECT FROM pg_namespace WHERE nspname = 'monitoring'")


def test_a_function_of_a_views_rows_is_named(adopted: Database) -> None:
    adopted.run(
        "CREATE FUNCTION public.board() RETURNS SETOF public.sms_failure_rates LANGUAGE sql "
        "AS 'SELECT * FROM public.sms_failure_rates'"
    )
    with pytest.raises(SchemaError, match=r"replaced or dropped: function public\.board\(\); drop these"):
        down(adopted)


def test_a_script_that_is_too_old_drops_nothing_that_was_built_since(adopted: Database) -> None:
    script = down_sql(adopted.engine, lock_timeout="5s", drop_monitoring=True)
    adopted.run(BUILT["foreign key"][0])
    before = catalog(adopted)
    with pytest.raises(Exception, match=r"replaced or dropped: table constraint about on public\.notes"):
        adopted.run(script)
    assert catalog(adopted) == before
