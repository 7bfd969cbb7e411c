-- One pass over the window; rows whose key no row of the day has are dropped.
near AS (SELECT * FROM around WHERE key IN (SELECT key FROM day))
