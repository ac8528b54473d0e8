-- Not run by anybody yet: read it, choose users and passwords, and run it as an administrator.
-- Who has none of these roles sees what they saw before.
CREATE SETTINGS PROFILE OR REPLACE analytics_pipeline_read SETTINGS readonly = 2 READONLY, max_rows_to_read = 1000000000 READONLY, max_bytes_to_read = 100000000000 READONLY, max_result_rows = 100000 READONLY, result_overflow_mode = 'throw' READONLY, max_memory_usage = 4000000000 READONLY, max_bytes_before_external_group_by = 1000000000 READONLY, max_bytes_before_external_sort = 1000000000 READONLY, timeout_before_checking_execution_speed = 0 READONLY, max_execution_time = 30 READONLY;

CREATE ROLE IF NOT EXISTS organisation_1 SETTINGS PROFILE analytics_pipeline_read;
CREATE QUOTA OR REPLACE organisation_1 KEYED BY user_name FOR INTERVAL 1 minute MAX queries = 600, FOR INTERVAL 1 day MAX queries = 100000, execution_time = 3600 TO organisation_1;
GRANT SELECT ON `analytics`.`identities` TO organisation_1;
CREATE ROW POLICY OR REPLACE organisation_1 ON `analytics`.`identities` USING project_id IN (10, 11) TO organisation_1;
GRANT SELECT ON `analytics`.`segment_counts` TO organisation_1;
CREATE ROW POLICY OR REPLACE organisation_1 ON `analytics`.`segment_counts` USING organisation_id = 1 TO organisation_1;
GRANT SELECT ON `analytics`.`analytics_events` TO organisation_1;
CREATE ROW POLICY OR REPLACE organisation_1 ON `analytics`.`analytics_events` USING organisation_id = 1 TO organisation_1;
GRANT SELECT ON `analytics`.`analytics_event_ids` TO organisation_1;
CREATE ROW POLICY OR REPLACE organisation_1 ON `analytics`.`analytics_event_ids` USING organisation_id = 1 TO organisation_1;
-- CREATE USER … IDENTIFIED WITH sha256_password BY '…' DEFAULT ROLE organisation_1;

CREATE ROLE IF NOT EXISTS organisation_2 SETTINGS PROFILE analytics_pipeline_read;
CREATE QUOTA OR REPLACE organisation_2 KEYED BY user_name FOR INTERVAL 1 minute MAX queries = 600, FOR INTERVAL 1 day MAX queries = 100000, execution_time = 3600 TO organisation_2;
GRANT SELECT ON `analytics`.`segment_counts` TO organisation_2;
CREATE ROW POLICY OR REPLACE organisation_2 ON `analytics`.`segment_counts` USING organisation_id = 2 TO organisation_2;
GRANT SELECT ON `analytics`.`analytics_events` TO organisation_2;
CREATE ROW POLICY OR REPLACE organisation_2 ON `analytics`.`analytics_events` USING organisation_id = 2 TO organisation_2;
GRANT SELECT ON `analytics`.`analytics_event_ids` TO organisation_2;
CREATE ROW POLICY OR REPLACE organisation_2 ON `analytics`.`analytics_event_ids` USING organisation_id = 2 TO organisation_2;
-- CREATE USER … IDENTIFIED WITH sha256_password BY '…' DEFAULT ROLE organisation_2;

CREATE ROW POLICY OR REPLACE everybody_else ON `analytics`.`identities` USING 1 TO ALL EXCEPT organisation_1, organisation_2;
CREATE ROW POLICY OR REPLACE everybody_else ON `analytics`.`segment_counts` USING 1 TO ALL EXCEPT organisation_1, organisation_2;
CREATE ROW POLICY OR REPLACE everybody_else ON `analytics`.`analytics_events` USING 1 TO ALL EXCEPT organisation_1, organisation_2;
CREATE ROW POLICY OR REPLACE everybody_else ON `analytics`.`analytics_event_ids` USING 1 TO ALL EXCEPT organisation_1, organisation_2;
