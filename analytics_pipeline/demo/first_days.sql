-- sqlfluff:dialect:postgres
-- The first day of each kind of event, in its own calendar: that of the account, and UTC.
SELECT
    (
        SELECT min(
            (event.created_at AT TIME ZONE coalesce(account.settings ->> 'reporting_timezone', 'UTC'))::date
        )
        FROM reporting_events AS event
        INNER JOIN accounts AS account ON event.account_id = account.id
    ) AS reporting,
    (
        SELECT
            (
                least(min(chat.timestamp), (SELECT min(timestamp) FROM ai_code_suggestion_events))
                AT TIME ZONE 'UTC'
            )::date
        FROM ai_duo_chat_events AS chat
    ) AS ai_usage
