SELECT
    toInt64OrNull(extract(log.log_comment, 'org_(\\d+)')) AS organisation,
    splitByChar(':', log.log_comment)[2] AS flow,
    toInt64(count()) AS statements,
    toInt64(sum(log.read_rows)) AS rows_read,
    toInt64(sum(log.read_bytes)) AS bytes_read,
    toInt64(sum(log.written_rows)) AS rows_written,
    sum(log.query_duration_ms) / 1000 AS seconds
FROM system.query_log AS log
WHERE
    log.type != 'QueryStart' AND log.query_kind != 'Set' AND startsWith(log.log_comment, 'analytics_pipeline:')
    AND log.event_time > now() - toIntervalHour({hours:UInt16})
GROUP BY organisation, flow
ORDER BY organisation NULLS FIRST, flow
