"""Totals of what ingestion has answered, which outlive its workers."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE analytics_pipeline.ingestion_totals (
            verdict text        PRIMARY KEY CHECK (verdict IN ('accepted', 'duplicate', 'rejected', 'retry')),
            events  bigint      NOT NULL,
            last_at timestamptz NOT NULL
        );
        COMMENT ON TABLE analytics_pipeline.ingestion_totals IS
            'For monitoring: how many product events were answered with each verdict, by all workers, ever.';
        COMMENT ON COLUMN analytics_pipeline.ingestion_totals.events IS
            'A worker adds every few seconds; one that is killed takes its last seconds with it.';
        COMMENT ON COLUMN analytics_pipeline.ingestion_totals.last_at IS 'When some were last added.';
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE analytics_pipeline.ingestion_totals")
