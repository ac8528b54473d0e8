CREATE TABLE `staging_identities_20261127180000_0a1b2c3d` AS `identities`;

INSERT INTO `staging_identities_20261127180000_0a1b2c3d` (snapshot_date, project_id, environment_id, identifier, identity_key, traits, inserted_at) SETTINGS input_format_try_infer_dates = 0, input_format_try_infer_datetimes = 0, type_json_skip_duplicated_paths = 1 FORMAT JSONEachRow
{"snapshot_date":"2026-11-27","project_id":10,"environment_id":"env-key-100","identifier":"alice","identity_key":"env-key-100_alice","traits":{"plan":"free"},"inserted_at":"2026-11-27 18:00:00.000"}
{"snapshot_date":"2026-11-27","project_id":10,"environment_id":"env-key-100","identifier":"dave","identity_key":"env-key-100_dave","traits":{"beta":"2024-01-01T10:00:00Z","plan":"pro"},"inserted_at":"2026-11-27 18:00:00.000"};

INSERT INTO `staging_identities_20261127180000_0a1b2c3d` (`environment_id`, `identifier`, `snapshot_date`, `inserted_at`, is_deleted)
SELECT `environment_id`, `identifier`, `snapshot_date`, toDateTime64('2026-11-27 18:00:00.000', 3, 'UTC'), 1
FROM (
    SELECT `environment_id`, `identifier`, `snapshot_date`, 0 AS is_loaded FROM `identities` FINAL WHERE snapshot_date = toDate('2026-11-27') AND environment_id IN ['env-key-100']
    UNION ALL
    SELECT `environment_id`, `identifier`, `snapshot_date`, 1 FROM `staging_identities_20261127180000_0a1b2c3d`
)
GROUP BY `environment_id`, `identifier`, `snapshot_date`
HAVING max(is_loaded) = 0
SETTINGS max_bytes_before_external_group_by = 268435456;

ALTER TABLE `identities` ATTACH PARTITION ID '20261127' FROM `staging_identities_20261127180000_0a1b2c3d`;

DROP TABLE IF EXISTS `staging_identities_20261127180000_0a1b2c3d` SYNC;

CREATE TABLE `staging_segment_counts_20261127180001_0a1b2c3d` AS `segment_counts`;

INSERT INTO `staging_segment_counts_20261127180001_0a1b2c3d` (date, organisation_id, project_id, segment_id, environment_id, environment_key, count, status, reason, computed_at) FORMAT JSONEachRow
{"date":"2026-11-27","organisation_id":1,"project_id":10,"segment_id":1,"environment_id":100,"environment_key":"env-key-100","count":1,"status":"counted","reason":"","computed_at":"2026-11-27 18:00:01.000"}
{"date":"2026-11-27","organisation_id":1,"project_id":10,"segment_id":1,"environment_id":101,"environment_key":"env-key-101","count":1,"status":"counted","reason":"","computed_at":"2026-11-27 18:00:01.000"}
{"date":"2026-11-27","organisation_id":1,"project_id":10,"segment_id":2,"environment_id":100,"environment_key":"env-key-100","count":null,"status":"failed","reason":"its rules are malformed","computed_at":"2026-11-27 18:00:01.000"};

INSERT INTO `staging_segment_counts_20261127180001_0a1b2c3d` (`project_id`, `segment_id`, `environment_id`, `date`, `computed_at`, is_deleted)
SELECT `project_id`, `segment_id`, `environment_id`, `date`, toDateTime64('2026-11-27 18:00:01.000', 3, 'UTC'), 1
FROM (
    SELECT `project_id`, `segment_id`, `environment_id`, `date`, 0 AS is_loaded FROM `segment_counts` FINAL WHERE project_id = 10 AND date = toDate('2026-11-27')
    UNION ALL
    SELECT `project_id`, `segment_id`, `environment_id`, `date`, 1 FROM `staging_segment_counts_20261127180001_0a1b2c3d`
)
GROUP BY `project_id`, `segment_id`, `environment_id`, `date`
HAVING max(is_loaded) = 0
SETTINGS max_bytes_before_external_group_by = 268435456;

ALTER TABLE `segment_counts` ATTACH PARTITION ID '202611' FROM `staging_segment_counts_20261127180001_0a1b2c3d`;

DROP TABLE IF EXISTS `staging_segment_counts_20261127180001_0a1b2c3d` SYNC;
