"""Ledger of what ClickHouse holds of each day: forgotten before a swap, recorded after it."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE analytics_pipeline.held_days (
            relation   text        NOT NULL,
            day        date        NOT NULL,
            rows       bigint,
            checksum   numeric,
            state      text        NOT NULL CHECK (state IN ('held', 'swapping', 'lost')),
            lease      text        NOT NULL,
            swapped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (relation, day)
        );
        COMMENT ON TABLE analytics_pipeline.held_days IS
            'One row for each ClickHouse table and day that was swapped: what the last swap left there.';
        COMMENT ON COLUMN analytics_pipeline.held_days.rows IS 'NULL: swapped before this was recorded.';
        COMMENT ON COLUMN analytics_pipeline.held_days.checksum IS
            'Sum of a hash of each row''s identity. NULL: swapped before this was recorded.';
        COMMENT ON COLUMN analytics_pipeline.held_days.state IS
            'swapping: was held, and is being replaced while somebody holds the lease. lost: not as recorded.';
        COMMENT ON COLUMN analytics_pipeline.held_days.lease IS 'Name of the lease under which the day is swapped.';

        INSERT INTO analytics_pipeline.held_days (relation, day, rows, state, lease, swapped_at)
        SELECT source, day, rows, 'held', 'swap:' || source, swapped_at FROM analytics_pipeline.source_copies
        UNION ALL
        SELECT 'ai_usage_daily', day, rows, 'held', 'ai_usage_daily', built_at FROM analytics_pipeline.ai_usage_days
        UNION ALL
        SELECT relation, date, NULL, 'held', 'reporting_rollups', max(computed_at)
        FROM analytics_pipeline.reporting_coverage
        CROSS JOIN unnest(ARRAY['reporting_rollups', 'reporting_day_bounds']) AS relation
        GROUP BY relation, date;

        -- A lease as pg_locks shows one on a bigint.
        CREATE VIEW analytics_pipeline.vouched_days AS
        SELECT relation, day FROM analytics_pipeline.held_days
        WHERE state = 'held' OR (
            state = 'swapping' AND EXISTS (
                SELECT FROM pg_locks
                WHERE locktype = 'advisory' AND objsubid = 1 AND granted
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND (classid::bigint << 32) | objid::bigint = hashtextextended('analytics_pipeline:' || lease, 0)
            )
        );
        COMMENT ON VIEW analytics_pipeline.vouched_days IS
            'Days that ClickHouse holds as recorded, as far as anybody has noticed.';

        CREATE VIEW analytics_pipeline.held_copies AS
        SELECT copy.* FROM analytics_pipeline.source_copies AS copy
        JOIN analytics_pipeline.vouched_days AS vouched ON vouched.relation = copy.source AND vouched.day = copy.day;

        CREATE VIEW analytics_pipeline.held_rollups AS
        SELECT covered.* FROM analytics_pipeline.reporting_coverage AS covered
        JOIN analytics_pipeline.vouched_days AS vouched
            ON vouched.relation = 'reporting_rollups' AND vouched.day = covered.date;

        CREATE VIEW analytics_pipeline.held_ai_usage_days AS
        SELECT figures.* FROM analytics_pipeline.ai_usage_days AS figures
        JOIN analytics_pipeline.vouched_days AS vouched
            ON vouched.relation = 'ai_usage_daily' AND vouched.day = figures.day;
        """
    )


def downgrade() -> None:
    op.execute(
        """
        DROP VIEW analytics_pipeline.held_ai_usage_days;
        DROP VIEW analytics_pipeline.held_rollups;
        DROP VIEW analytics_pipeline.held_copies;
        DROP VIEW analytics_pipeline.vouched_days;
        DROP TABLE analytics_pipeline.held_days;
        """
    )
