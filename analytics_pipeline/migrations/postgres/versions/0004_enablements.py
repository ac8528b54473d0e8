"""Ledger of enablements, ledger of the days of AI usage figures."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE analytics_pipeline.enablements (
            feature          text        NOT NULL,
            scope            text        NOT NULL,
            epoch            integer     NOT NULL CHECK (epoch > 0),
            setting          text        NOT NULL,
            state            text        NOT NULL DEFAULT 'requested'
                CHECK (state IN ('requested', 'running', 'completed', 'failed')),
            source_first_day date,
            first_day        date,
            last_day         date,
            attempt          integer     NOT NULL DEFAULT 1,
            last_attempt     integer     NOT NULL,
            next_attempt_at  timestamptz NOT NULL DEFAULT now(),
            run_id           text        NOT NULL DEFAULT '',
            heartbeat_at     timestamptz,
            rows             bigint,
            error            text        NOT NULL DEFAULT '',
            is_reset         boolean     NOT NULL DEFAULT false,
            requested_at     timestamptz NOT NULL DEFAULT now(),
            seen_on_at       timestamptz NOT NULL DEFAULT now(),
            started_at       timestamptz,
            completed_at     timestamptz,
            closed_at        timestamptz,
            PRIMARY KEY (feature, scope, epoch),
            CHECK ((first_day IS NULL) = (last_day IS NULL)),
            CHECK (attempt <= last_attempt)
        );
        CREATE UNIQUE INDEX ON analytics_pipeline.enablements (feature, scope) WHERE closed_at IS NULL;
        COMMENT ON TABLE analytics_pipeline.enablements IS
            'One row for each time that a feature was switched on for a scope: what became of its history.';

        CREATE TABLE analytics_pipeline.ai_usage_days (
            day      date        PRIMARY KEY,
            rows     bigint      NOT NULL,
            built_at timestamptz NOT NULL,
            run_id   text        NOT NULL
        );
        COMMENT ON TABLE analytics_pipeline.ai_usage_days IS
            'One row for each UTC day of ai_usage_daily: how many rows it has, and as of when the events were counted.';
        """
    )


def downgrade() -> None:
    op.execute(
        """
        DROP TABLE analytics_pipeline.enablements;
        DROP TABLE analytics_pipeline.ai_usage_days;
        """
    )
