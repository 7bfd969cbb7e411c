"""Row level security without locking anybody out: whoever could use a table before keeps his rights by a policy."""


def keep_roles(table: str) -> str:
    """Return the statement to run before row level security is enabled on an existing table of ``public``.

    Superusers, the owner and roles with BYPASSRLS need no policy; Supabase's own roles get theirs from ``access``.
    """
    return f"""
DO $$
DECLARE holder text;
BEGIN
    FOR holder IN
        SELECT DISTINCT r.rolname FROM pg_class AS c CROSS JOIN aclexplode(c.relacl) AS granted
        JOIN pg_roles AS r ON r.oid = granted.grantee
        WHERE c.oid = to_regclass('public.{table}') AND NOT c.relrowsecurity AND r.oid <> c.relowner
            AND NOT r.rolbypassrls AND r.rolname NOT IN ('anon', 'authenticated', 'service_role')
    LOOP
        EXECUTE format('CREATE POLICY %I ON public.{table} TO %I USING (true) WITH CHECK (true)',
                       'kept_for_' || holder, holder);
    END LOOP;
END $$
"""  # noqa: S608 - a name of ours
