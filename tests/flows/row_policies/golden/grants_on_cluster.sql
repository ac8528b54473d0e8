-- Not run by anybody yet: read it, choose users and passwords, and run it as an administrator.
-- Who has none of these roles sees what they saw before.
CREATE SETTINGS PROFILE OR REPLACE analytics_pipeline_read ON CLUSTER `main` SETTINGS readonly = 2 READONLY, max_rows_to_read = 1000000000 READONLY, max_bytes_to_read = 100000000000 READONLY, max_result_rows = 100000 READONLY, result_overflow_mode = 'throw' READONLY, max_memory_usage = 4000000000 READONLY, max_bytes_before_external_group_by = 1000000000 READONLY, max_bytes_before_external_sort = 1000000000 READONLY, timeout_before_checking_execution_speed = 0 READONLY, max_execution_time = 30 READONLY;

CREATE ROLE IF NOT EXISTS organisation_7 ON CLUSTER `main` SETTINGS PROFILE analytics_pipeline_read;
CREATE QUOTA OR REPLACE organisation_7 ON CLUSTER `main` KEYED BY user_name FOR INTERVAL 1 minute MAX queries = 600, FOR INTERVAL 1 day MAX queries = 100000, execution_time = 3600 TO organisation_7;
GRANT ON CLUSTER `main` SELECT ON `analytics`.`identities` TO organisation_7;
CREATE ROW POLICY OR REPLACE organisation_7 ON CLUSTER `main` ON `analytics`.`identities` USING project_id IN (70) TO organisation_7;
GRANT ON CLUSTER `main` SELECT ON `analytics`.`segment_counts` TO organisation_7;
CREATE ROW POLICY OR REPLACE organisation_7 ON CLUSTER `main` ON `analytics`.`segment_counts` USING organisation_id = 7 TO organisation_7;
GRANT ON CLUSTER `main` SELECT ON `analytics`.`analytics_events` TO organisation_7;
CREATE ROW POLICY OR REPLACE organisation_7 ON CLUSTER `main` ON `analytics`.`analytics_events` USING organisation_id = 7 TO organisation_7;
GRANT ON CLUSTER `main` SELECT ON `analytics`.`analytics_event_ids` TO organisation_7;
CREATE ROW POLICY OR REPLACE organisation_7 ON CLUSTER `main` ON `analytics`.`analytics_event_ids` USING organisation_id = 7 TO organisation_7;
GRANT ON CLUSTER `main` SELECT ON `analytics`.`analytics_daily_active_users` TO organisation_7;
CREATE ROW POLICY OR REPLACE organisation_7 ON CLUSTER `main` ON `analytics`.`analytics_daily_active_users` USING organisation_id = 7 TO organisation_7;
GRANT ON CLUSTER `main` SELECT ON `analytics`.`analytics_task_stats_daily` TO organisation_7;
CREATE ROW POLICY OR REPLACE organisation_7 ON CLUSTER `main` ON `analytics`.`analytics_task_stats_daily` USING organisation_id = 7 TO organisation_7;
GRANT ON CLUSTER `main` SELECT ON `analytics`.`analytics_api_latency_hourly` TO organisation_7;
CREATE ROW POLICY OR REPLACE organisation_7 ON CLUSTER `main` ON `analytics`.`analytics_api_latency_hourly` USING organisation_id = 7 TO organisation_7;
GRANT ON CLUSTER `main` SELECT ON `analytics`.`analytics_api_latency_daily` TO organisation_7;
CREATE ROW POLICY OR REPLACE organisation_7 ON CLUSTER `main` ON `analytics`.`analytics_api_latency_daily` USING organisation_id = 7 TO organisation_7;
GRANT ON CLUSTER `main` SELECT ON `analytics`.`analytics_integration_health_daily` TO organisation_7;
CREATE ROW POLICY OR REPLACE organisation_7 ON CLUSTER `main` ON `analytics`.`analytics_integration_health_daily` USING organisation_id = 7 TO organisation_7;
GRANT ON CLUSTER `main` SELECT ON `analytics`.`analytics_auth_events_daily` TO organisation_7;
CREATE ROW POLICY OR REPLACE organisation_7 ON CLUSTER `main` ON `analytics`.`analytics_auth_events_daily` USING organisation_id = 7 TO organisation_7;
GRANT ON CLUSTER `main` SELECT ON `analytics`.`analytics_cocoon_activity_daily` TO organisation_7;
CREATE ROW POLICY OR REPLACE organisation_7 ON CLUSTER `main` ON `analytics`.`analytics_cocoon_activity_daily` USING organisation_id = 7 TO organisation_7;
GRANT ON CLUSTER `main` SELECT ON `analytics`.`analytics_errors_hourly` TO organisation_7;
CREATE ROW POLICY OR REPLACE organisation_7 ON CLUSTER `main` ON `analytics`.`analytics_errors_hourly` USING organisation_id = 7 TO organisation_7;
GRANT ON CLUSTER `main` SELECT ON `analytics`.`daily_event_counts` TO organisation_7;
CREATE ROW POLICY OR REPLACE organisation_7 ON CLUSTER `main` ON `analytics`.`daily_event_counts` USING organisation_id = 7 TO organisation_7;
-- CREATE USER … IDENTIFIED WITH sha256_password BY '…' DEFAULT ROLE organisation_7;

CREATE ROW POLICY OR REPLACE everybody_else ON CLUSTER `main` ON `analytics`.`identities` USING 1 TO ALL EXCEPT organisation_7;
CREATE ROW POLICY OR REPLACE everybody_else ON CLUSTER `main` ON `analytics`.`segment_counts` USING 1 TO ALL EXCEPT organisation_7;
CREATE ROW POLICY OR REPLACE everybody_else ON CLUSTER `main` ON `analytics`.`analytics_events` USING 1 TO ALL EXCEPT organisation_7;
CREATE ROW POLICY OR REPLACE everybody_else ON CLUSTER `main` ON `analytics`.`analytics_event_ids` USING 1 TO ALL EXCEPT organisation_7;
CREATE ROW POLICY OR REPLACE everybody_else ON CLUSTER `main` ON `analytics`.`analytics_daily_active_users` USING 1 TO ALL EXCEPT organisation_7;
CREATE ROW POLICY OR REPLACE everybody_else ON CLUSTER `main` ON `analytics`.`analytics_task_stats_daily` USING 1 TO ALL EXCEPT organisation_7;
CREATE ROW POLICY OR REPLACE everybody_else ON CLUSTER `main` ON `analytics`.`analytics_api_latency_hourly` USING 1 TO ALL EXCEPT organisation_7;
CREATE ROW POLICY OR REPLACE everybody_else ON CLUSTER `main` ON `analytics`.`analytics_api_latency_daily` USING 1 TO ALL EXCEPT organisation_7;
CREATE ROW POLICY OR REPLACE everybody_else ON CLUSTER `main` ON `analytics`.`analytics_integration_health_daily` USING 1 TO ALL EXCEPT organisation_7;
CREATE ROW POLICY OR REPLACE everybody_else ON CLUSTER `main` ON `analytics`.`analytics_auth_events_daily` USING 1 TO ALL EXCEPT organisation_7;
CREATE ROW POLICY OR REPLACE everybody_else ON CLUSTER `main` ON `analytics`.`analytics_cocoon_activity_daily` USING 1 TO ALL EXCEPT organisation_7;
CREATE ROW POLICY OR REPLACE everybody_else ON CLUSTER `main` ON `analytics`.`analytics_errors_hourly` USING 1 TO ALL EXCEPT organisation_7;
CREATE ROW POLICY OR REPLACE everybody_else ON CLUSTER `main` ON `analytics`.`daily_event_counts` USING 1 TO ALL EXCEPT organisation_7;
