"""When a budget will be reached today, from the hours of the week in which the business uses OpenAI.

What an hour of the week usually uses is learnt once a day from the four weeks before. The rest of the day is expected
to go as usual, by as much busier as the day has been so far. Where the last hour alone was so busy that the limit
is less than an hour away at its rate, that rate counts: a loop keeps no hours.
"""

from sqlalchemy import Connection, text

WEEKS = 4

_FORGET = "DELETE FROM monitoring.openai_hours WHERE computed_on <> monitoring.today()"
_LEARN = f"""
    INSERT INTO monitoring.openai_hours (business_key, weekday, hour, tokens, computed_on)
    WITH used AS (
        SELECT coalesce(u.business_id, '00000000-0000-0000-0000-000000000000') AS business_key, l.at::date AS day,
               extract(hour FROM l.at)::smallint AS hour, sum(u.tokens_used)::numeric AS tokens
        FROM monitoring.api_usage AS u
        CROSS JOIN monitoring.installation AS i
        CROSS JOIN LATERAL (SELECT u.created_at AT TIME ZONE i.reporting_timezone AS at) AS l
        WHERE u.service = 'openai' AND u.tokens_used > 0
            AND u.created_at >= (monitoring.today() - {7 * WEEKS})::timestamp AT TIME ZONE i.reporting_timezone
            AND u.created_at < monitoring.today()::timestamp AT TIME ZONE i.reporting_timezone
            AND NOT EXISTS (SELECT FROM monitoring.openai_hours)
        GROUP BY 1, 2, 3
    ), known AS (
        SELECT business_key, min(day) AS first_day, monitoring.today() - min(day) AS days
        FROM used GROUP BY business_key
    ), hours AS (
        SELECT u.business_key, u.hour, sum(u.tokens) / k.days AS tokens
        FROM used AS u JOIN known AS k USING (business_key) GROUP BY u.business_key, u.hour, k.days
    ), weekdays AS (
        SELECT k.business_key, extract(isodow FROM d.day)::smallint AS weekday, count(*) AS days
        FROM known AS k
        CROSS JOIN LATERAL generate_series(k.first_day, monitoring.today() - 1, interval '1 day') AS d (day)
        GROUP BY 1, 2
    ), own AS (
        SELECT business_key, extract(isodow FROM day)::smallint AS weekday, hour, sum(tokens) AS tokens
        FROM used GROUP BY 1, 2, 3
    )
    -- One day more of every weekday's: four Mondays alone say little of one hour.
    SELECT h.business_key, w.weekday, h.hour, (coalesce(o.tokens, 0) + h.tokens) / (coalesce(d.days, 0) + 1),
           monitoring.today()
    FROM hours AS h
    CROSS JOIN generate_series(1, 7) AS w (weekday)
    LEFT JOIN weekdays AS d ON d.business_key = h.business_key AND d.weekday = w.weekday
    LEFT JOIN own AS o ON o.business_key = h.business_key AND o.weekday = w.weekday AND o.hour = h.hour
    ORDER BY 1, 2, 3
    ON CONFLICT DO NOTHING
"""  # noqa: S608 - a constant
LEARNING = (_FORGET, _LEARN)
"""The statements that learn; a second time on a day they change nothing."""

REACHED_AT = """
    WITH budget AS MATERIALIZED (
        {budgets}
    ), hours AS (
        SELECT b.business_key, b.allowed - b.used AS remains, b.used, b.at, h.begins, h.ends,
               greatest(h.begins, b.at) AS starts, p.tokens,
               p.tokens * extract(epoch FROM least(greatest(b.at, h.begins), h.ends) - h.begins)
                   / extract(epoch FROM h.ends - h.begins) AS past
        FROM budget AS b
        CROSS JOIN monitoring.installation AS i
        CROSS JOIN LATERAL (
            SELECT g.begins, least(g.begins + interval '1 hour', d.ends) AS ends,
                   g.begins AT TIME ZONE i.reporting_timezone AS there
            FROM (SELECT b.day::timestamp AT TIME ZONE i.reporting_timezone AS begins,
                         (b.day + 1)::timestamp AT TIME ZONE i.reporting_timezone AS ends) AS d
            CROSS JOIN LATERAL generate_series(d.begins, d.ends - interval '1 second', '1 hour') AS g (begins)
        ) AS h
        JOIN monitoring.openai_hours AS p ON p.business_key = b.business_key
            AND p.weekday = extract(isodow FROM h.there) AND p.hour = extract(hour FROM h.there)
        WHERE b.allowed > b.used
    ), paced AS (
        SELECT h.*, (h.tokens - h.past) * (h.used + {prior} * sum(h.tokens) OVER w)
                    / nullif(sum(h.past) OVER w + {prior} * sum(h.tokens) OVER w, 0) AS ahead
        FROM hours AS h WINDOW w AS (PARTITION BY h.business_key, h.at)
    ), summed AS (
        SELECT p.*, sum(p.ahead) OVER (PARTITION BY p.business_key, p.at ORDER BY p.begins) AS through FROM paced AS p
    )
    SELECT business_key, at,
           min(starts + (ends - starts) * greatest((remains - through + ahead) / ahead, 0)::double precision)
               FILTER (WHERE through >= remains AND ahead > 0 AND ends > at) AS reached_at
    FROM summed GROUP BY business_key, at
"""
"""When budgets will be reached: business_key, at, reached_at (NULL: not on that day), of those with hours of their own.

``{budgets}`` is a query of business_key, day, used, allowed and at, the instant at which ``used`` was so; ``{prior}``
the share of a usual day that counts as having gone as usual.
"""

PRIOR = "0.3"


def learn_hours(connection: Connection) -> None:
    """Learn what each hour of the week uses, once a day."""
    for statement in LEARNING:
        connection.execute(text(statement))
