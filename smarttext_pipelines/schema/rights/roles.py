"""Optional roles with least privilege, for a database where not everything should connect as the owner.

Created by ``smarttext migrate --roles`` without login: the database's owner gives each a password. Every migrate resets
their rights where they exist. They bypass row level security where their creator may grant that; otherwise a policy
of their own shows them every row. Their grants limit what they see: a filtered table is an error.
"""

from smarttext_pipelines.schema.migrations.lock import TAKE
from smarttext_pipelines.schema.near_rows import ARGUMENTS
from smarttext_pipelines.schema.sources import ADD_FUNCTIONS, READ_FUNCTIONS

SERVICE = "service_role"
"""The application's role on Supabase; not ours, so it is never made here."""

WRITER, PIPELINE, RETENTION, READER = (
    "smarttext_writer",
    "smarttext_pipeline",
    "smarttext_retention",
    "smarttext_reader",
)
ROLES = (WRITER, PIPELINE, RETENTION, READER)

FUNCTIONS = {
    "public.check_openai_usage_limit(uuid)": (SERVICE, WRITER),
    "public.reserve_openai_usage(uuid, bigint, text, text, text, numeric)": (SERVICE, WRITER),
    "public.settle_openai_usage(text, bigint, numeric)": (SERVICE, WRITER),
    "public.cancel_openai_usage(text)": (SERVICE, WRITER),
    "public.reset_daily_openai_usage(uuid)": (SERVICE, PIPELINE),
    "public.reset_daily_openai_usage()": (SERVICE, PIPELINE),
    "public.update_daily_stats(uuid, date)": (SERVICE,),
    "public.check_sms_recipient(uuid, text)": (SERVICE, PIPELINE),
    "monitoring.usage_date(timestamptz)": (SERVICE, WRITER),
    # What a library asks for that was started before this migrate.
    "monitoring.reporting_day(timestamptz)": (SERVICE, WRITER),
    "monitoring.usage_day(date, timestamptz, text, text)": (PIPELINE, RETENTION),
    "monitoring.usage_day(date, timestamp, text, text)": (PIPELINE, RETENTION),
    "monitoring.today()": (PIPELINE, READER),
    "monitoring.openai_limit(uuid)": (PIPELINE,),
    "monitoring.open_openai_budgets(date[], uuid[])": (PIPELINE,),
    "monitoring.openai_ledger(date)": (PIPELINE,),
    "monitoring.reap_openai_reservations(interval)": (PIPELINE,),
    "monitoring.read_message_rows()": (PIPELINE,),
    "monitoring.read_call_rows()": (PIPELINE,),
    "monitoring.list_business_names()": (PIPELINE, READER),
    f"monitoring.near_rows({ARGUMENTS})": (PIPELINE,),
    f"monitoring.masked_near_rows({ARGUMENTS}, text[])": (PIPELINE, READER),
    "monitoring.suppressed_recipients(uuid)": (PIPELINE,),
    "monitoring.masked_suppressed_recipients(uuid)": (PIPELINE, READER),
    "monitoring.message_prices(text[])": (PIPELINE, READER),
    "monitoring.businesses_of_sender(text)": (PIPELINE, READER),
    "monitoring.openai_tokens_of_the_hour()": (PIPELINE, READER),
    "monitoring.near_usage(text, uuid, date, date, timestamptz, timestamptz)": (PIPELINE, READER),
    # Both do what the caller's own rights on the table allow.
    **dict.fromkeys(ADD_FUNCTIONS, (SERVICE, WRITER)),
    **dict.fromkeys(READ_FUNCTIONS, (PIPELINE, RETENTION)),
}
"""Who may execute what; only the owner may execute our other functions."""

_TABLES = ("businesses", "sms_events", "call_events", "api_usage", "owner_alerts", "daily_stats")
_EVENTS = "public.sms_events, public.call_events, public.api_usage, public.owner_alerts"
_READ_BY_PEOPLE = (
    "public.daily_stats, public.sms_failure_rates, public.openai_daily_usage, monitoring.sms_failure_rates, "
    "monitoring.spend, monitoring.call_volume, monitoring.missed_call_replies, monitoring.owner_alert_delivery, "
    "monitoring.heartbeats, monitoring.pipeline_health, monitoring.incidents, monitoring.rollup_days, "
    "monitoring.business_names, monitoring.budget_crossings, monitoring.openai_refusals, "
    "monitoring.openai_refusals_new, monitoring.failure_classes, monitoring.openai_budgets, monitoring.rule_states, "
    "monitoring.silences, monitoring.live_today, monitoring.notifications, monitoring.sms_outcomes, "
    "monitoring.anomalies, monitoring.anomaly_days, monitoring.anomaly_marks, monitoring.anomaly_verdicts, "
    "monitoring.openai_costs, monitoring.openai_cost_days, "
    "monitoring.openai_hours, monitoring.write_backs, monitoring.unit_economics, monitoring.customer_days, "
    "monitoring.customer_secrets"
)
# A reservation becomes an event, and a counter admits: what functions and triggers keep, no role writes by itself.
_KEPT_BY_FUNCTIONS = (
    "monitoring.openai_budgets, monitoring.openai_reservations, monitoring.openai_refusals, "
    "monitoring.openai_refusals_new, monitoring.openai_resets, monitoring.budget_crossings, "
    "monitoring.ledger_rewrites, monitoring.openai_prices, "
    "monitoring.failure_classes, monitoring.message_rows, monitoring.call_rows, monitoring.businesses, "
    "monitoring.sms_events, monitoring.call_events, monitoring.api_usage, monitoring.owner_alerts, "
    "monitoring.adoption_record, monitoring.installed_objects, monitoring.business_names"
)
POLICY = "smarttext_roles"
_CREATE = """
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[{roles}] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = name);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN BYPASSRLS', name);
        EXCEPTION WHEN insufficient_privilege THEN
            -- Before PostgreSQL 16 only a superuser grants BYPASSRLS; a policy does as well.
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            EXCEPTION WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'a superuser must run this first: ALTER ROLE % CREATEROLE', quote_ident(current_user);
            END;
        END;
    END LOOP;
END $$
"""

# Locked at once, or a migration and a writer deadlock; and only where something is to be changed.
_POLICIES = """
DO $$
DECLARE
    needing CONSTANT oid[] := ARRAY(SELECT oid FROM pg_roles WHERE rolname = ANY (ARRAY[{roles}])
                                        AND NOT rolbypassrls AND NOT rolsuper ORDER BY oid);
    named CONSTANT text := (SELECT string_agg(quote_ident(pg_get_userbyid(o)), ', ') FROM unnest(needing) AS o);
    stale CONSTANT oid[] := ARRAY(
        SELECT c.oid FROM pg_class AS c LEFT JOIN pg_policy AS p ON p.polrelid = c.oid AND p.polname = '{policy}'
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (ARRAY[{tables}]) AND c.relkind IN ('r', 'p')
            AND CASE WHEN c.relrowsecurity AND named IS NOT NULL
                     THEN (ARRAY(SELECT unnest(p.polroles) ORDER BY 1), p.polpermissive, p.polcmd,
                           pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid))
                          IS DISTINCT FROM (needing, true, '*'::"char", 'true'::text, 'true'::text)
                     ELSE p.oid IS NOT NULL END);
    relations text := coalesce((SELECT string_agg(o::regclass::text, ', ') FROM unnest(stale) AS o), '');
    relation oid;
BEGIN{take}
    FOREACH relation IN ARRAY stale LOOP
        EXECUTE format('DROP POLICY IF EXISTS {policy} ON %s', relation::regclass);
        IF named IS NOT NULL AND (SELECT relrowsecurity FROM pg_class WHERE oid = relation) THEN
            EXECUTE format('CREATE POLICY {policy} ON %s TO %s USING (true) WITH CHECK (true)',
                           relation::regclass, named);
        END IF;
    END LOOP;
END $$
"""

_GRANT = """
DO $$
DECLARE
    name text;
    -- What others own in these schemas is not ours to revoke.
    relations CONSTANT text := (
        SELECT string_agg(oid::regclass::text, ', ') FROM pg_class
        WHERE relnamespace IN ('public'::regnamespace, 'monitoring'::regnamespace)
            AND relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_has_role(relowner, 'USAGE'));
    functions CONSTANT text := (
        SELECT string_agg(oid::regprocedure::text, ', ') FROM pg_proc
        WHERE pronamespace IN ('public'::regnamespace, 'monitoring'::regnamespace)
            AND prokind <> 'p' AND pg_has_role(proowner, 'USAGE'));
BEGIN
    FOREACH name IN ARRAY ARRAY[{roles}] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name);
        EXECUTE format('REVOKE ALL ON %s FROM %I', relations, name);
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %I', functions, name);
        EXECUTE format('GRANT USAGE ON SCHEMA public, monitoring TO %I', name);
        EXECUTE format('GRANT SELECT ON monitoring.installation, monitoring.alembic_version TO %I', name);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{writer}') THEN
        GRANT INSERT ON {events} TO {writer};
        GRANT SELECT (id) ON {events} TO {writer};
        GRANT SELECT (id, name, subscription_tier) ON public.businesses TO {writer};
        GRANT SELECT (request_id) ON monitoring.openai_reservations TO {writer};
        GRANT SELECT, INSERT, UPDATE ON monitoring.tracking_writers TO {writer};
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{pipeline}') THEN
        GRANT SELECT ON {events}, public.businesses, public.sms_failure_rates, public.openai_daily_usage TO {pipeline};
        GRANT SELECT, INSERT, UPDATE, DELETE ON public.daily_stats TO {pipeline};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA monitoring TO {pipeline};
        REVOKE INSERT, UPDATE, DELETE ON monitoring.installation, monitoring.alembic_version FROM {pipeline};
        REVOKE INSERT, UPDATE, DELETE ON monitoring.archive_segments, monitoring.erasures FROM {pipeline};
        REVOKE INSERT, UPDATE, DELETE ON {kept} FROM {pipeline};
        REVOKE UPDATE, DELETE ON monitoring.number_reveals FROM {pipeline};
        GRANT UPDATE (limit_tokens, limit_usd, granted_tokens, granted_usd) ON monitoring.openai_budgets TO {pipeline};
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {pipeline}', current_database());
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{retention}') THEN
        GRANT SELECT, INSERT, DELETE ON {events} TO {retention};
        GRANT SELECT ON public.businesses, public.daily_stats TO {retention};
        GRANT SELECT ON ALL TABLES IN SCHEMA monitoring TO {retention};
        GRANT INSERT, UPDATE, DELETE ON monitoring.archive_segments TO {retention};
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {retention}', current_database());
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{reader}') THEN
        GRANT SELECT ON {people} TO {reader};
        GRANT SELECT (id, name, business_type, subscription_tier, created_at) ON public.businesses TO {reader};
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {reader}', current_database());
    END IF;
{functions}END $$
"""


def create_roles() -> str:
    """Return the statement that creates the missing roles; they cannot log in yet."""
    return _CREATE.replace("{roles}", _names())


def functions_of(role: str) -> list[str]:
    """Return the signatures of the functions that a role may execute."""
    return [signature for signature, roles in FUNCTIONS.items() if role in roles]


def role_grants() -> str:
    """Return the statement that gives existing roles exactly their rights."""
    functions = "".join(
        f"    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN\n"
        f"        GRANT EXECUTE ON FUNCTION {', '.join(functions_of(role))} TO {role};\n    END IF;\n"
        for role in ROLES
        if functions_of(role)
    )
    values = {
        "functions": functions, "roles": _names(), "writer": WRITER, "pipeline": PIPELINE, "retention": RETENTION,
        "reader": READER, "events": _EVENTS, "people": _READ_BY_PEOPLE, "kept": _KEPT_BY_FUNCTIONS,
    }  # fmt: skip
    statement = _GRANT
    for name, value in values.items():
        statement = statement.replace("{" + name + "}", value)
    return statement


def role_policies() -> str:
    """Return the statement that shows every row to existing roles that do not bypass row level security."""
    tables = ", ".join(f"'{table}'" for table in _TABLES)
    values = {"roles": _names(), "policy": POLICY, "tables": tables, "take": TAKE}
    statement = _POLICIES
    for name, value in values.items():
        statement = statement.replace("{" + name + "}", value)
    return statement


def _names() -> str:
    return ", ".join(f"'{role}'" for role in ROLES)
