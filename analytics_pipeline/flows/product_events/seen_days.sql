SELECT
    toDate(timestamp) AS day,
    count() AS events,
    countIf(received_at <= {until:DateTime64(3, 'UTC')}) AS settled,
    maxOrNullIf(received_at, received_at <= {until:DateTime64(3, 'UTC')}) AS newest,
    countIf(
        toUnixTimestamp64Milli(received_at)
        <= arrayElement({known_until:Array(Int64)}, indexOf({days:Array(Date)}, toDate(timestamp)))
    ) AS known
FROM analytics_events FINAL
WHERE toDate(timestamp) IN {days:Array(Date)}
GROUP BY day
SETTINGS do_not_merge_across_partitions_select_final = 1
