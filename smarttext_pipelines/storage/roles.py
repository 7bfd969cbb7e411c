"""Optional roles with least privilege, for a database where not everything should connect as the owner.

Made by ``smarttext migrate --roles`` without login: whoever runs the database gives each a password. Every migrate sets
their rights anew where they exist. They bypass row level security, whose only policy is for ``service_role``: our
sessions ask for an error instead of a filtered table. What they see is bounded by their grants.
"""

from collections.abc import Sequence

WRITER, PIPELINE, RETENTION, READER = (
    "smarttext_writer",
    "smarttext_pipeline",
    "smarttext_retention",
    "smarttext_reader",
)
ROLES = (WRITER, PIPELINE, RETENTION, READER)

_EVENTS = "public.sms_events, public.call_events, public.api_usage, public.owner_alerts"
_READ_BY_PEOPLE = (
    "public.daily_stats, public.sms_failure_rates, public.openai_daily_usage, monitoring.sms_failure_rates, "
    "monitoring.spend, monitoring.call_volume, monitoring.owner_alert_delivery, monitoring.heartbeats, "
    "monitoring.pipeline_health, monitoring.incidents, monitoring.rollup_days"
)
_CREATE = """
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[{roles}] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN BYPASSRLS', name);
        END IF;
    END LOOP;
END $$
"""

_GRANT = """
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[{roles}] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA public, monitoring FROM %I', name);
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public, monitoring FROM %I', name);
        EXECUTE format('GRANT USAGE ON SCHEMA public, monitoring TO %I', name);
        EXECUTE format('GRANT SELECT ON monitoring.installation, monitoring.alembic_version TO %I', name);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{writer}') THEN
        GRANT INSERT ON {events} TO {writer};
        GRANT SELECT (id) ON {events} TO {writer};
        GRANT SELECT (id, name, subscription_tier) ON public.businesses TO {writer};
        GRANT SELECT (request_id) ON monitoring.openai_reservations TO {writer};
        GRANT SELECT, INSERT, UPDATE ON monitoring.tracking_writers TO {writer};
        GRANT EXECUTE ON FUNCTION monitoring.reporting_day(timestamptz), {guard} TO {writer};
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{pipeline}') THEN
        GRANT SELECT ON {events}, public.businesses, public.sms_failure_rates, public.openai_daily_usage TO {pipeline};
        GRANT SELECT, INSERT, UPDATE, DELETE ON public.daily_stats TO {pipeline};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA monitoring TO {pipeline};
        REVOKE INSERT, UPDATE, DELETE ON monitoring.installation, monitoring.alembic_version FROM {pipeline};
        REVOKE INSERT, UPDATE, DELETE ON monitoring.archive_segments, monitoring.erasures FROM {pipeline};
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA monitoring TO {pipeline};
        GRANT EXECUTE ON FUNCTION {reset} TO {pipeline};
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {pipeline}', current_database());
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{retention}') THEN
        GRANT SELECT, INSERT, DELETE ON {events} TO {retention};
        GRANT SELECT ON public.businesses, public.daily_stats TO {retention};
        GRANT SELECT ON ALL TABLES IN SCHEMA monitoring TO {retention};
        GRANT INSERT, UPDATE, DELETE ON monitoring.archive_segments TO {retention};
        GRANT EXECUTE ON FUNCTION {reading} TO {retention};
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA monitoring TO {retention};
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {retention}', current_database());
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{reader}') THEN
        GRANT SELECT ON {people} TO {reader};
        GRANT SELECT (id, name, business_type, subscription_tier, created_at) ON public.businesses TO {reader};
    END IF;
END $$
"""


def create_roles() -> str:
    """Return the statement that makes the roles that are missing; they cannot log in yet."""
    return _CREATE.replace("{roles}", _names())


def role_grants(*, writer: Sequence[str], pipeline: Sequence[str], reading: Sequence[str]) -> str:
    """Return the statement that gives the roles that exist exactly their rights.

    Args:
        writer: Signatures of the functions that an application calls.
        pipeline: Signatures of those that the pipeline calls.
        reading: Signatures of those through which events are read.
    """
    values = {
        "roles": _names(), "writer": WRITER, "pipeline": PIPELINE, "retention": RETENTION, "reader": READER,
        "events": _EVENTS, "people": _READ_BY_PEOPLE, "guard": ", ".join(writer), "reset": ", ".join(pipeline),
        "reading": ", ".join(reading),
    }  # fmt: skip
    statement = _GRANT
    for name, value in values.items():
        statement = statement.replace("{" + name + "}", value)
    return statement


def _names() -> str:
    return ", ".join(f"'{role}'" for role in ROLES)
