"""Lock tables without making anybody wait.

A lock that is waited for makes every later writer wait, too, and ends in a deadlock with one that holds the next table:
an insert locks its own table first and ``businesses``, for the foreign key, second. So all tables are locked at
once and released at once when one is in use, until ``lock_timeout`` has passed.
"""

TAKE = """
    WHILE relations <> '' LOOP
        BEGIN
            EXECUTE 'LOCK TABLE ' || relations || ' IN ACCESS EXCLUSIVE MODE NOWAIT';
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            IF clock_timestamp() > statement_timestamp() + current_setting('lock_timeout')::interval THEN
                RAISE;
            END IF;
            PERFORM pg_sleep(0.02);
        END;
    END LOOP;
"""
"""Part of a PL/pgSQL block that locks ``relations``, a text of names with commas."""

_SOURCES = "'businesses', 'call_events', 'sms_events', 'api_usage', 'owner_alerts'"
_BLOCK = """
DO $$
DECLARE
    relations text := (SELECT string_agg(format('public.%I', name), ', ') FROM unnest('{names}'::text[]) AS name
                       JOIN pg_class AS c ON c.oid = to_regclass(format('public.%I', name))
                       WHERE c.relkind IN ('r', 'p') OR name NOT IN ({sources}));
BEGIN{take}END $$
"""


def lock(*names: str) -> str:
    """Return the statement that locks those tables and views of ``public`` that exist, to the transaction's end.

    A view in place of one of the application's tables is left alone: locking it would lock what it reads.
    """
    return _BLOCK.replace("{names}", f"{{{','.join(names)}}}").replace("{sources}", _SOURCES).replace("{take}", TAKE)
