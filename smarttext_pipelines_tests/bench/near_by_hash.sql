-- One pass over the window; rows whose hash no row of the day has are dropped. The condition on the times holds anyway:
-- with it PostgreSQL shares one hash table among the workers instead of making the hashes distinct in each.
near AS (
    SELECT * FROM around WHERE EXISTS (
        SELECT FROM day WHERE day.key_hash = around.key_hash AND around.created_at < day.created_at + interval '240 hours'
    )
)
