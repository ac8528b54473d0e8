SELECT
    organisation_id,
    toDate(timestamp) AS date,
    countIf(event_type = 'auth_login_attempt') AS login_attempts,
    countIf(event_type = 'auth_login_attempt' AND success) AS successful_logins,
    countIf(event_type = 'auth_login_attempt' AND NOT success) AS failed_logins,
    countIf(event_type = 'auth_code_verified') AS code_verifications,
    countIf(event_type = 'auth_token_refresh') AS token_refreshes,
    uniqExactStateIf(assumeNotNull(user_id), user_id IS NOT NULL) AS users
FROM ${EVENTS}
WHERE event_type IN ('auth_login_attempt', 'auth_code_verified', 'auth_token_refresh')
GROUP BY organisation_id, date
