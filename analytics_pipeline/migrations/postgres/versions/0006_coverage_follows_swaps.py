"""Coverage tells which swap of its source days a rollup has seen, not when they were read."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # For a while 0003 made the column under its new name. A moment of reading equals no swap's, so what was recorded
    # under the old name is stale and computed once more.
    op.execute(
        """
        DO $$ BEGIN
            IF EXISTS (
                SELECT FROM information_schema.columns
                WHERE table_schema = 'analytics_pipeline' AND table_name = 'reporting_coverage'
                    AND column_name = 'source_copied_at'
            ) THEN
                ALTER TABLE analytics_pipeline.reporting_coverage RENAME COLUMN source_copied_at TO source_swapped_at;
            END IF;
        END $$
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE analytics_pipeline.reporting_coverage RENAME COLUMN source_swapped_at TO source_copied_at")
