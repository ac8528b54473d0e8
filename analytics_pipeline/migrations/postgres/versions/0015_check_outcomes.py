"""Ledger of what asset checks came to, which outside Dagster nobody could see."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE analytics_pipeline.check_outcomes (
            flow          text        NOT NULL,
            asset         text        NOT NULL,
            check_name    text        NOT NULL,
            day           date,
            outcome       text        NOT NULL CHECK (outcome IN ('passed', 'failed', 'unknown')),
            severity      text        NOT NULL CHECK (severity IN ('error', 'warning')),
            compared      bigint      NOT NULL DEFAULT 0,
            found         bigint      NOT NULL DEFAULT 0,
            reason        text        NOT NULL DEFAULT '',
            failing_since timestamptz CHECK ((failing_since IS NULL) = (outcome <> 'failed')),
            checked_at    timestamptz NOT NULL,
            run_id        text        NOT NULL
        );
        CREATE UNIQUE INDEX check_outcomes_key
            ON analytics_pipeline.check_outcomes (asset, check_name, coalesce(day, '-infinity'::date));
        COMMENT ON TABLE analytics_pipeline.check_outcomes IS
            'The latest outcome of each asset check, for each day that it looked at. Dagster has the findings.';
        COMMENT ON COLUMN analytics_pipeline.check_outcomes.day IS
            'NULL: the check looks at everything that there is, whichever day its run is of.';
        COMMENT ON COLUMN analytics_pipeline.check_outcomes.outcome IS
            'unknown: nothing was compared, or the check has begun and not ended. A failure stays until then.';
        COMMENT ON COLUMN analytics_pipeline.check_outcomes.compared IS
            'How many things, over all days that were looked at together.';
        COMMENT ON COLUMN analytics_pipeline.check_outcomes.checked_at IS 'When the look began.';
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE analytics_pipeline.check_outcomes")
