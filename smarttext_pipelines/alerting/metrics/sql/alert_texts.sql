-- The staged messages with what rules look at: class of the error, whether it is known, whether it is old.
CREATE TEMPORARY TABLE alert_texts ON COMMIT DROP AS
SELECT m.key, m.first_at, m.recipient, m.business_id, m.audience, m.sender, m.status, m.status_class, m.is_final,
       m.error_code, coalesce(c.class, 'unmapped') AS class, m.first_at < :now - interval '15 min' AS is_old,
       coalesce(m.error_code, '') = '' OR m.error_code IN (
           SELECT error_code FROM monitoring.sms_outcomes
           WHERE day < :today AND day >= :today - 90 AND error_code IS NOT NULL) AS is_known
FROM alert_messages AS m
LEFT JOIN alert_failure_classes AS c ON c.code = m.error_code
