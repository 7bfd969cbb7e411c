"""Row level security on tables that a migration creates; an existing table keeps what it has."""


def create_table(table: str) -> str:
    """Return the statement that creates a missing table of ``public``, with its key alone and row level security.

    Where default privileges open every new table of ``public`` to everybody, row security is what closes it.
    """
    return f"""
DO $$
BEGIN
    IF to_regclass('public.{table}') IS NULL THEN
        CREATE TABLE public.{table} (id uuid PRIMARY KEY DEFAULT gen_random_uuid());
        ALTER TABLE public.{table} ENABLE ROW LEVEL SECURITY;
    END IF;
END $$
"""
