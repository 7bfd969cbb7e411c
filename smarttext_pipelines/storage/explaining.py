"""Views in ``monitoring`` that explain: every row of a message or a call, with masked numbers and what to do."""

from smarttext_pipelines.core.failure_classes import failure_classes

_CLASSES = """
CREATE OR REPLACE VIEW monitoring.failure_classes AS
SELECT * FROM (VALUES
    {values}
) AS c (code, failure_class, reason, who_acts, next_step);
"""
_MESSAGES = """
CREATE OR REPLACE VIEW monitoring.message_rows AS
SELECT e.message_sid, e.created_at, lower(e.status) AS status, e.error_code,
       e.request_id = 'twilio-report' AS is_report, e.business_id, e.request_id,
       '•••' || right(e.from_number, 2) AS sender, '•••' || right(e.to_number, 2) AS recipient,
       CASE WHEN lower(e.status) IN ('failed', 'undelivered', 'partially_delivered')
            THEN coalesce(c.failure_class, 'unmapped') END AS failure_class, c.who_acts, c.next_step
FROM public.sms_events AS e LEFT JOIN monitoring.failure_classes AS c ON c.code = e.error_code;
"""
_CALLS = """
CREATE OR REPLACE VIEW monitoring.call_rows AS
SELECT call_sid, ts, event_type, call_status, business_id, '•••' || right(from_number, 2) AS caller,
       '•••' || right(to_number, 2) AS called
FROM public.call_events;
"""


def view_statements() -> list[str]:
    """Return the statements that create or replace the views; nobody but the owner may read them."""
    values = ",\n    ".join(
        "(" + ", ".join(_literal(text) for text in (code, each.name, each.reason, each.who, each.next_step)) + ")"
        for each in failure_classes().values()
        for code in each.codes
    )
    return [_CLASSES.replace("{values}", values), _MESSAGES, _CALLS]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
