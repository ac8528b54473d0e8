"""An epoch after a reset does not count what was there before; all others ask for what the ledgers lack."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE analytics_pipeline.enablements ADD COLUMN from_scratch boolean NOT NULL DEFAULT false;
        COMMENT ON COLUMN analytics_pipeline.enablements.from_scratch IS
            'Only what was brought in after requested_at counts: the epoch before was reset.';
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE analytics_pipeline.enablements DROP COLUMN from_scratch")
