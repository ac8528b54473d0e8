-- The newest size of each environment.
CREATE OR REPLACE VIEW environment_sizes_latest ${ON_CLUSTER} AS
SELECT
    date,
    project_id,
    environment_id,
    identities
FROM environment_sizes FINAL
ORDER BY project_id ASC, environment_id ASC, date DESC
LIMIT 1 BY project_id, environment_id;
