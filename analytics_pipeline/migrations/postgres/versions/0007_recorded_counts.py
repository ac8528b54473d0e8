"""Counts that a refresh left in ClickHouse, so that their loss is noticed."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE analytics_pipeline.segment_refreshes ADD counts bigint, ADD computed_at timestamptz;
        COMMENT ON COLUMN analytics_pipeline.segment_refreshes.counts IS
            'Rows of segment_counts that the last completed refresh stored. NULL: not recorded.';
        COMMENT ON COLUMN analytics_pipeline.segment_refreshes.computed_at IS 'Their version. NULL: not recorded.';
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE analytics_pipeline.segment_refreshes DROP counts, DROP computed_at")
