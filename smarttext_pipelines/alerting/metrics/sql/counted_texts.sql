-- The texts that one metric counted in one span. {counted} is the metric's condition.
SELECT m.first_at AS at, CASE WHEN m.key LIKE 's%' THEN substr(m.key, 2) ELSE '(no sid)' END AS message, b.name AS business,
       m.sender, m.recipient, m.status, coalesce(m.error_code, '') AS code, m.class, m.audience
FROM alert_texts AS m LEFT JOIN monitoring.business_names AS b ON b.id = m.business_id
WHERE {counted} AND m.first_at >= :start_at AND m.first_at < :end_at
    AND (:kind = 'platform' OR :kind = 'business' AND m.business_id = :business_id
         OR :kind = 'sender' AND (sender_scope(m.sender) = :scope OR m.sender = ANY (CAST(:senders AS text[]))))
    AND (CAST(:apart AS uuid) IS NULL OR m.business_id IS DISTINCT FROM CAST(:apart AS uuid))
ORDER BY m.first_at, m.key
