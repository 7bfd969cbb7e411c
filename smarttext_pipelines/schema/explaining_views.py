"""Explaining views in ``monitoring``: every row of a message or a call, with masked numbers and what to do."""

from smarttext_pipelines.core.failure_classes import failure_classes
from smarttext_pipelines.core.phones import masked_in_sql
from smarttext_pipelines.core.statuses import CODE_PATTERN

_CLASSES = """
CREATE OR REPLACE VIEW monitoring.failure_classes AS
SELECT * FROM (VALUES
    {values}
) AS c (code, failure_class, reason, who_acts, next_step);
"""
# A view on a table of the application would keep its owner from changing a column, so each view reads a function
# whose text PostgreSQL does not resolve before it runs; it is inlined, so that a condition still finds its index. A
# search_path of its own would keep it from that, and is not needed here: it runs with its caller's rights, names no
# type, and nobody but the owner and the pipeline may call it.
_MESSAGES = """
CREATE OR REPLACE FUNCTION monitoring.read_message_rows()
RETURNS TABLE (message_sid text, created_at timestamptz, status text, error_code text, is_report boolean,
               business_id uuid, request_id text, sender text, recipient text, failure_class text, who_acts text,
               next_step text)
LANGUAGE sql STABLE AS $$
    SELECT e.message_sid, e.created_at, lower(e.status), e.error_code,
           e.request_id = 'twilio-report', e.business_id, e.request_id,
           {sender}, {recipient},
           CASE WHEN lower(e.status) IN ('failed', 'undelivered', 'partially_delivered')
                THEN coalesce(c.failure_class, 'unmapped') END, c.who_acts, c.next_step
    FROM monitoring.sms_events AS e
    LEFT JOIN monitoring.failure_classes AS c ON c.code = coalesce((regexp_match(e.error_code, '{number}'))[2], '')
$$;
CREATE OR REPLACE VIEW monitoring.message_rows AS SELECT * FROM monitoring.read_message_rows();
"""
_CALLS = """
CREATE OR REPLACE FUNCTION monitoring.read_call_rows()
RETURNS TABLE (call_sid text, ts timestamptz, event_type text, call_status text, business_id uuid, caller text,
               called text)
LANGUAGE sql STABLE AS $$
    SELECT call_sid, ts, event_type, call_status, business_id, {caller}, {called}
    FROM monitoring.call_events
$$;
CREATE OR REPLACE VIEW monitoring.call_rows AS SELECT * FROM monitoring.read_call_rows();
"""

# Names without numbers, for those who may not read the table.
_NAMES = """
CREATE OR REPLACE FUNCTION monitoring.list_business_names()
RETURNS TABLE (id uuid, name text, business_type text, subscription_tier text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT id, name, business_type, subscription_tier FROM monitoring.businesses
$$;
CREATE OR REPLACE VIEW monitoring.business_names AS SELECT * FROM monitoring.list_business_names();
"""


def view_statements() -> list[str]:
    """Return the statements that create or replace the views; nobody but the owner may read them."""
    values = ",\n    ".join(
        "(" + ", ".join(_literal(text) for text in (code, each.name, each.reason, each.who, each.next_step)) + ")"
        for each in failure_classes().values()
        for code in each.codes
    )
    messages = {
        "number": CODE_PATTERN,
        "sender": masked_in_sql("e.from_number"),
        "recipient": masked_in_sql("e.to_number"),
    }
    calls = {"caller": masked_in_sql("from_number"), "called": masked_in_sql("to_number")}
    return [_CLASSES.format(values=values), _MESSAGES.format(**messages), _CALLS.format(**calls), _NAMES]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
