"""A copy's ledger entry tells a change that committed after a newer one."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE analytics_pipeline.source_copies ADD COLUMN changes bigint;
        COMMENT ON COLUMN analytics_pipeline.source_copies.changes IS
            'Sum of the moments when the rows changed, in milliseconds since 1970 modulo 2^63; NULL: not recorded.';
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE analytics_pipeline.source_copies DROP COLUMN changes")
