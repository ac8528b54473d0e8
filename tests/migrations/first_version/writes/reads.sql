SELECT environment_id, sum(live), max(version) FROM (
    SELECT environment_id, count() AS live, max(inserted_at) AS version FROM identities FINAL WHERE snapshot_date = toDate('2026-11-27') GROUP BY environment_id
    UNION ALL
    SELECT environment_id, 0, max(inserted_at) FROM identities WHERE snapshot_date = toDate('2026-11-27') GROUP BY environment_id
) GROUP BY environment_id ORDER BY environment_id;

SELECT i.environment_id, countIf(ifNull(i.traits.`plan`::String = 'pro', false)) FROM identities AS i FINAL WHERE i.snapshot_date = toDate('2026-11-27') AND i.environment_id IN ['env-key-100', 'env-key-101'] GROUP BY i.environment_id ORDER BY i.environment_id SETTINGS short_circuit_function_evaluation = 'disable';

SELECT segment_id, environment_id, count, status FROM segment_counts_latest ORDER BY segment_id, environment_id;
