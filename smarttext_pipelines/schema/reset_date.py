"""The day that ``api_usage.reset_date`` holds: the application's where it made the table, else the reporting day.

An application sums the ``reset_date`` of a day that it computes itself, and must find every row there, in any
reporting zone. So on a table that was there before us the default stays as it was found, and what we write has the date
that the default would have given it. Reports and budgets then take the reporting day from ``created_at``.
"""

from zoneinfo import ZoneInfo

from smarttext_pipelines.schema.migrations.lock import TAKE

# The first revision recorded which tables it found, before it made the others.
_INSTALL = """
INSERT INTO monitoring.installation (reporting_timezone, reset_date_zone)
SELECT '{zone}', CASE WHEN EXISTS (SELECT FROM monitoring.adoption_record AS r
                                   WHERE r.occasion = 'adoption' AND r.kind = 'table' AND r.object = 'api_usage')
                      THEN coalesce((SELECT z.name FROM pg_timezone_names AS z
                                     WHERE lower(z.name) = lower(f.named) ORDER BY z.name LIMIT 1), f.named, 'UTC') END
FROM (
    SELECT e.expression, substring(e.expression FROM $e$(?:AT TIME ZONE |timezone\\()'([^']+)'$e$) AS named
    FROM (SELECT pg_get_expr(d.adbin, d.adrelid) AS expression
          FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
          WHERE a.attrelid = 'public.api_usage'::regclass AND a.attname = 'reset_date') AS e
) AS f
ON CONFLICT DO NOTHING
"""

# The zone is a literal: a function in ``monitoring`` would make the insert of a role without rights there fail.
_DEFAULT = """
DO $$
DECLARE
    relations text := 'public.api_usage';
BEGIN
    IF (SELECT reset_date_zone IS NULL FROM monitoring.installation)
        AND (SELECT relkind IN ('r', 'p') FROM pg_class WHERE oid = 'public.api_usage'::regclass)
        AND strpos(coalesce((SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef AS d
                             JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                             WHERE a.attrelid = 'public.api_usage'::regclass AND a.attname = 'reset_date'), ''),
                   'AT TIME ZONE \'\'{zone}\'\'') = 0 THEN
{take}
        ALTER TABLE public.api_usage ALTER COLUMN reset_date SET DEFAULT (now() AT TIME ZONE '{zone}')::date;
    END IF;
END $$
"""


def install(zone: ZoneInfo) -> str:
    """Return the statement that notes, once, the reporting zone and in which zone ``reset_date`` was found to count.

    Where the default names a zone, it is that one; else UTC, which is what ``current_date`` means on Supabase.
    """
    return _INSTALL.replace("{zone}", zone.key)


def reset_date_default(zone: ZoneInfo) -> str:
    """Return the statement that makes usage count for the reporting day of its insertion, on a table that we made."""
    return _DEFAULT.replace("{zone}", zone.key).replace("{take}", TAKE)
