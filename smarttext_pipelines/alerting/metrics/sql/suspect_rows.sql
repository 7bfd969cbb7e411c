-- Every row of the messages of a few businesses: theirs by name, by their number, or by the sid of such a row.
CREATE TEMPORARY TABLE alert_suspect_rows ON COMMIT DROP AS
WITH wanted AS (
    SELECT id, nullif(twilio_phone, '') AS number FROM monitoring.businesses WHERE id = ANY (CAST(:businesses AS uuid[]))
), named AS (
    SELECT e.* FROM monitoring.sms_events AS e
    WHERE e.created_at >= :start_at AND e.created_at < :end_at
        AND (e.business_id = ANY (CAST(:businesses AS uuid[])) OR e.from_number IN (SELECT number FROM wanted))
)
SELECT * FROM named
UNION
SELECT e.* FROM monitoring.sms_events AS e
WHERE e.created_at >= :start_at AND e.created_at < :end_at
    AND e.message_sid IN (SELECT message_sid FROM named WHERE message_sid <> '')
